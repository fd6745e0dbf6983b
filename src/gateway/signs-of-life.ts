import type { Duplex } from 'node:stream';

/** The members that are read from the network socket; net.Socket and TLSSocket have them. */
export type NetworkSocket = Duplex & { readonly bytesRead: number; readonly bytesWritten: number };

/** Maximum heartbeats without a sign of life before the connection is closed. */
const SILENT_BEATS_MAX = 2;

/** Checks once per heartbeat whether the client of a socket has sent or accepted bytes. */
export class SignsOfLife {
  readonly #network: NetworkSocket;
  #silentBeats = 0;
  // Values at the last heartbeat:
  #bytesRead = 0;
  #bytesWritten = 0;
  #wasBackedUp = false;

  constructor(network: NetworkSocket) {
    this.#network = network;
  }

  /** Called once per heartbeat. Returns false if the client has been silent for too long. */
  beat(): boolean {
    const { bytesRead, bytesWritten, writableLength, writableNeedDrain } = this.#network;
    // A client that is still receiving a large frame cannot answer the pings behind it.
    const written = bytesWritten - writableLength;
    const isAlive = bytesRead !== this.#bytesRead || (this.#wasBackedUp && written !== this.#bytesWritten);
    this.#silentBeats = isAlive ? 0 : this.#silentBeats + 1;
    this.#bytesRead = bytesRead;
    this.#bytesWritten = written;
    this.#wasBackedUp = writableNeedDrain;
    return this.#silentBeats <= SILENT_BEATS_MAX;
  }
}
