/**
 * Holds whether the definitions at this point of the WAL are known. Code that needs them waits for
 * `known`.
 */
export class DefinitionsGate {
  #lost: { readonly regained: Promise<void>; readonly regain: () => void } | undefined;

  /** Resolves when they are known; undefined if they already are. */
  get known(): Promise<void> | undefined {
    return this.#lost?.regained;
  }

  set(isKnown: boolean): void {
    if (isKnown) {
      this.#lost?.regain();
      this.#lost = undefined;
    } else if (this.#lost === undefined) {
      let regain = () => {};
      const regained = new Promise<void>((resolve) => {
        regain = resolve;
      });
      this.#lost = { regained, regain };
    }
  }
}
