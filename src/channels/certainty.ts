/** Whether it is known what the definitions are at this point of the WAL; who must know it waits. */
export class Certainty {
  #lost: { readonly regained: Promise<void>; readonly regain: () => void } | undefined;

  /** Resolves when it is known; undefined: it is. */
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
