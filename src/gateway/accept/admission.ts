import { SnoError } from '../../errors.ts';

/** The limit that a connection exceeds: of all connections, or of one address. */
export type Excess = 'in all' | 'of one address';

/** Returns the error for a client that exceeds the limit, and the limit's name. */
export function excessError(
  excess: Excess,
  settings: { readonly SNO_MAX_CONNECTIONS: number; readonly SNO_MAX_CONNECTIONS_PER_ADDRESS: number },
): { readonly limit: 'connections' | 'connections_per_address'; readonly error: SnoError } {
  const { SNO_MAX_CONNECTIONS: max, SNO_MAX_CONNECTIONS_PER_ADDRESS: perAddressMax } = settings;
  const isInAll = excess === 'in all';
  const message = isInAll
    ? `the server has reached its limit of ${max} connections`
    : `the address has reached its limit of ${perAddressMax} connections`;
  return { limit: isInAll ? 'connections' : 'connections_per_address', error: new SnoError('overloaded', message) };
}

/** Counts connections. If another process counts them, `enter` returns a promise. */
export interface AdmissionDesk {
  /**
   * Returns the limit that one more connection would exceed. Undefined: the connection is counted
   * until `leave`.
   */
  enter(address: string): Excess | undefined | Promise<Excess | undefined>;
  leave(address: string): void;
}

export class Admission implements AdmissionDesk {
  readonly #max: number;
  readonly #perAddressMax: number;
  readonly #byAddress = new Map<string, number>();
  #count = 0;

  constructor(max: number, perAddressMax: number) {
    this.#max = max;
    this.#perAddressMax = perAddressMax;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Returns the limit that one more connection would exceed. Undefined: the connection is counted
   * until `leave`. A connection without an address counts for the overall limit only.
   */
  enter(address: string | undefined): Excess | undefined {
    if (this.#max > 0 && this.#count >= this.#max) return 'in all';
    const sameAddress = address === undefined ? 0 : (this.#byAddress.get(address) ?? 0);
    if (this.#perAddressMax > 0 && sameAddress >= this.#perAddressMax) return 'of one address';
    this.#count++;
    if (address !== undefined) this.#byAddress.set(address, sameAddress + 1);
    return undefined;
  }

  leave(address: string | undefined): void {
    this.#count--;
    if (address === undefined) return;
    const left = (this.#byAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }
}
