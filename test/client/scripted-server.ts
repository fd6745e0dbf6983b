/** A real websocket server over TLS. The test sends every frame itself. */
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import type { ClientFrame, ServerFrame } from '../../src/protocol.ts';
import { type Certificate, selfSigned } from '../support/tls.ts';
import { until } from '../support/wait.ts';

type FrameOf<Type extends ClientFrame['type']> = Extract<ClientFrame, { type: Type }>;

/** One connection, from the server's side. */
export class Peer {
  readonly frames: ClientFrame[] = [];
  readonly path: string;
  closeCode: number | undefined;
  readonly #socket: WebSocket;

  constructor(socket: WebSocket, path: string) {
    this.#socket = socket;
    this.path = path;
    socket.on('message', (data) => this.frames.push(JSON.parse(String(data)) as ClientFrame));
    socket.on('close', (code) => {
      this.closeCode = code;
    });
  }

  say(...frames: readonly ServerFrame[]): void {
    for (const frame of frames) this.sayText(JSON.stringify(frame));
  }

  sayText(text: string): void {
    this.#socket.send(text);
  }

  welcome(heartbeatSeconds = 25): void {
    this.say({ type: 'welcome', connection: 'c1', epoch: 'e', heartbeat_s: heartbeatSeconds });
  }

  /** Resolves with the nth frame of a type, from 0, once it has come. */
  heard<Type extends ClientFrame['type']>(type: Type, nth = 0): Promise<FrameOf<Type>> {
    return until(
      () => this.frames.filter((frame): frame is FrameOf<Type> => frame.type === type)[nth],
      `the client's ${type}`,
    );
  }

  close(code: number): void {
    this.#socket.close(code);
  }

  /** Cuts the connection without a close frame. */
  terminate(): void {
    this.#socket.terminate();
  }
}

export class ScriptedServer {
  readonly peers: Peer[] = [];
  readonly url: string;
  /** The `WebSocket` of ws, which trusts this server. */
  readonly WebSocket: new (
    url: string,
  ) => WebSocket;
  readonly #https: Server;
  readonly #sockets: WebSocketServer;
  readonly #certificate: Certificate;

  static async start(): Promise<ScriptedServer> {
    const certificate = await selfSigned();
    const https = createServer({ cert: certificate.cert, key: certificate.key });
    await new Promise<void>((resolve) => {
      https.listen(0, '127.0.0.1', resolve);
    });
    return new ScriptedServer(https, certificate);
  }

  private constructor(https: Server, certificate: Certificate) {
    this.#https = https;
    this.#certificate = certificate;
    this.url = `https://localhost:${(https.address() as AddressInfo).port}`;
    this.#sockets = new WebSocketServer({ server: https });
    this.#sockets.on('connection', (socket, { url }) => this.peers.push(new Peer(socket, url ?? '')));
    this.WebSocket = class extends WebSocket {
      constructor(url: string) {
        super(url, { ca: certificate.cert });
      }
    };
  }

  /** Resolves with the nth connection, from 0, once it is open. */
  peer(nth: number): Promise<Peer> {
    return until(() => this.peers[nth], `connection ${nth}`);
  }

  async stop(): Promise<void> {
    for (const client of this.#sockets.clients) client.terminate();
    this.#sockets.close();
    await new Promise((resolve) => {
      this.#https.close(resolve);
    });
    await this.#certificate.remove();
  }
}
