import type { CoordinatorLink } from "./coordinator-link.ts";

/** How a worker takes leave: it says so, and waits until others hold what it holds. */
export class Leave {
  #tell: (words: string) => void = () => undefined;

  /** The coordinator has answered. */
  answer(moved: boolean, reason: string): void {
    this.#tell(moved ? "others hold the stage" : `nobody can take the stage: ${reason}`);
  }

  /** The coordinator has gone: nobody will answer. */
  giveUp(): void {
    this.#tell("the coordinator has gone");
  }

  /** Resolves with what came of it, in words; at once when nobody is there to hear it. */
  ask(link: CoordinatorLink, reason: string, patienceMs: number): Promise<string> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(`nobody took the stage within ${patienceMs} ms`), patienceMs);
      this.#tell = (words) => {
        clearTimeout(timer);
        resolve(words);
      };
      if (!link.announceLeave(reason)) this.giveUp();
    });
  }
}
