/**
 * Measures live memory in another process. V8 decides when it collects garbage, so the resident
 * size says little. Start the process with `NODE_OPTIONS=--inspect=127.0.0.1:port`.
 */
import { WebSocket } from 'ws';

interface Answer {
  readonly id: number;
  readonly result?: { readonly result?: { readonly value?: unknown } };
  readonly error?: { readonly message: string };
}

export class Heap {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #asked = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => {
      const answer = JSON.parse(String(data)) as Answer;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  static async inspect(port: number): Promise<Heap> {
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
      webSocketDebuggerUrl: string;
    }[];
    const socket = new WebSocket(targets[0]?.webSocketDebuggerUrl as string);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return new Heap(socket);
  }

  /** Bytes that are alive after a collection, including buffers outside of the heap. */
  async aliveBytes(): Promise<number> {
    // the first collection may free objects that held buffers
    for (const _ of [1, 2]) await this.#ask('HeapProfiler.collectGarbage');
    const expression = '(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())';
    const { result } = await this.#ask('Runtime.evaluate', { expression, returnByValue: true });
    return Number(result?.result?.value);
  }

  close(): void {
    this.#socket.close();
  }

  #ask(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<Answer> {
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, (answer) =>
        answer.error === undefined ? resolve(answer) : reject(new Error(`${method}: ${answer.error.message}`)),
      );
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
}
