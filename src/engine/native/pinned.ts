/**
 * The engine release that every declaration in this folder was written against. Struct layouts hold for exactly this
 * version: `llama.h` of llama.cpp at commit de3ff815, as the npm packages `@node-llama-cpp/*` of ENGINE_VERSION carry it.
 */
export const ENGINE_VERSION = "3.22.1";

/** Version in the library's own words (`llama_version()`), with any suffix of the build. */
export const LLAMA_VERSION_PREFIX = "0.5.0";

/** Engine packages by `platform-arch`, the best first. Only the plain Linux ones are our dependencies. */
export const ENGINE_PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "linux-x64": ["linux-x64-cuda", "linux-x64-vulkan", "linux-x64"],
  "linux-arm64": ["linux-arm64"],
  "linux-arm": ["linux-armv7l"],
  "darwin-arm64": ["mac-arm64-metal"],
  "darwin-x64": ["mac-x64"],
  "win32-x64": ["win-x64-cuda", "win-x64-vulkan", "win-x64"],
  "win32-arm64": ["win-arm64"],
};

/** Bytes of the structs that cross the border by value, from a C compiler over the pinned header on LP64. */
export const STRUCT_BYTES = { modelParams: 80, contextParams: 160, batch: 56, quantizeParams: 64 } as const;
