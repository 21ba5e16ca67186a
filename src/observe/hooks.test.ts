import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { HookRegistry } from "./hooks.ts";

const POINTS = ["blocks.0.out", "blocks.1.out", "head.logits"];
const nothing = (): void => undefined;

function codeOf(act: () => unknown): string | null {
  try {
    act();
  } catch (error) {
    return error instanceof NoodleError ? error.code : String(error);
  }
  return null;
}

describe("a hook registry", () => {
  it("gives the hooks of each point of its stage, and the same list until they change", () => {
    const hooks = new HookRegistry();
    hooks.on("blocks.*.out", { pre: nothing, post: nothing });
    const release = hooks.post("head.logits", nothing);
    hooks.attach(POINTS);
    expect([...hooks.list().keys()]).toEqual(POINTS);
    expect(hooks.list()).toBe(hooks.list());
    release();
    expect([...hooks.list().keys()]).toEqual(["blocks.0.out", "blocks.1.out"]);
    release();
    hooks.pre("head.logits", nothing);
    expect(hooks.list().get("head.logits")).toEqual({ pre: nothing });
  });

  it("refuses a second hook of a kind at a point, however it is named", () => {
    const hooks = new HookRegistry();
    hooks.post("blocks.0.out", nothing);
    expect(codeOf(() => hooks.post("blocks.0.out", nothing))).toBe("HOOK_POINT_TAKEN");
    expect(codeOf(() => hooks.pre("blocks.0.out", nothing))).toBeNull();
    hooks.attach(POINTS);
    expect(codeOf(() => hooks.post("blocks.*.out", nothing))).toBe("HOOK_POINT_TAKEN");
    expect(hooks.list().get("blocks.1.out")).toBeUndefined();
  });

  it("finds a star and a number that meet when a stage is opened, and serves another then", () => {
    const hooks = new HookRegistry();
    const release = hooks.post("blocks.1.out", nothing);
    hooks.post("blocks.*.out", nothing);
    expect(codeOf(() => hooks.attach(POINTS))).toBe("HOOK_POINT_TAKEN");
    release();
    expect(codeOf(() => hooks.attach(POINTS))).toBeNull();
  });

  it("refuses unknown points at once, and points of other stages when it knows its own", () => {
    const hooks = new HookRegistry();
    expect(codeOf(() => hooks.post("blocks.0.attention", nothing))).toBe("HOOK_POINT_UNKNOWN");
    const release = hooks.post("embed.out", nothing);
    expect(codeOf(() => hooks.attach(POINTS))).toBe("HOOK_POINT_UNKNOWN");
    release();
    hooks.attach(POINTS);
    expect(codeOf(() => hooks.post("embed.out", nothing))).toBe("HOOK_POINT_UNKNOWN");
    expect(codeOf(() => hooks.post("blocks.2.out", nothing))).toBe("HOOK_POINT_UNKNOWN");
  });

  it("serves one stage at a time", () => {
    const hooks = new HookRegistry();
    hooks.attach(POINTS);
    expect(codeOf(() => hooks.attach(POINTS))).toBe("ILLEGAL_STATE");
    hooks.detach();
    expect(hooks.list().size).toBe(0);
    expect(codeOf(() => hooks.attach(POINTS))).toBeNull();
  });
});
