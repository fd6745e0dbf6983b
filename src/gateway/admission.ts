/** How many connections there may be, in all and from one address; 0 = no limit. */
export class Admission {
  readonly #max: number;
  readonly #perAddressMax: number;
  readonly #byAddress = new Map<string, number>();
  #count = 0;

  constructor(max: number, perAddressMax: number) {
    this.#max = max;
    this.#perAddressMax = perAddressMax;
  }

  /** Why one more is too many, else undefined: then it is counted, until `leave`. */
  enter(address: string): string | undefined {
    const sameAddress = this.#byAddress.get(address) ?? 0;
    if (this.#max > 0 && this.#count >= this.#max) return `the server has ${this.#max} connections, as many as it may`;
    if (this.#perAddressMax > 0 && sameAddress >= this.#perAddressMax)
      return `the address has ${this.#perAddressMax} connections, as many as it may`;
    this.#count++;
    this.#byAddress.set(address, sameAddress + 1);
    return undefined;
  }

  leave(address: string): void {
    const left = (this.#byAddress.get(address) ?? 1) - 1;
    this.#count--;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }
}
