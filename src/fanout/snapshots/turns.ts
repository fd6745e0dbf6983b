/** Lets a connection take snapshots one after the other, if its socket does not keep up. */
export class SnapshotTurns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when the caller's turn begins. The caller calls the result when it is over. */
  async take(): Promise<() => void> {
    const before = this.#last;
    let end = () => {};
    this.#last = new Promise((resolve) => {
      end = resolve;
    });
    await before;
    return end;
  }
}
