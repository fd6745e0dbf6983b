/** A proxy between a client and Postgres that changes the client's bytes, as a pooler may. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface StartupProxy {
  /** URL of the same database through the proxy. */
  readonly url: string;
  close(): Promise<void>;
}

const HEADER_BYTES = 8;

export function withoutParameter(databaseUrl: string, parameter: string): Promise<StartupProxy> {
  return proxyTo(
    databaseUrl,
    (packet) => startupWithout(packet, parameter),
    (chunk) => chunk,
  );
}

/** Replaces a text that the client sends by another one of the same length. */
export function withText(databaseUrl: string, text: string, other: string): Promise<StartupProxy> {
  const replaced = (chunk: Buffer) => Buffer.from(chunk.toString('latin1').replaceAll(text, other), 'latin1');
  return proxyTo(databaseUrl, (packet) => packet, replaced);
}

type Change = (bytes: Buffer) => Buffer;

async function proxyTo(databaseUrl: string, ofStartup: Change, ofOthers: Change): Promise<StartupProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    upstream.pipe(client);
    let head = Buffer.alloc(0);
    client.on('data', function read(chunk: Buffer) {
      head = Buffer.concat([head, chunk]);
      if (head.length < 4 || head.length < head.readInt32BE(0)) return;
      if (head.readInt32BE(0) === HEADER_BYTES) {
        // a request for TLS
        upstream.write(head);
        head = Buffer.alloc(0);
        return;
      }
      client.off('data', read);
      const length = head.readInt32BE(0);
      upstream.write(Buffer.concat([ofStartup(head.subarray(0, length)), head.subarray(length)]));
      client.on('data', (more: Buffer) => upstream.write(ofOthers(more)));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

/**
 * A startup packet: its length, the protocol's version, then names and values. Each ends with a
 * zero byte.
 */
function startupWithout(packet: Buffer, parameter: string): Buffer {
  const texts = packet.toString('utf8', HEADER_BYTES, packet.length - 2).split('\0');
  const kept: string[] = [];
  for (let index = 0; index < texts.length; index += 2)
    if (texts[index] !== parameter) kept.push(texts[index] as string, texts[index + 1] as string);
  const body = Buffer.from(`${kept.join('\0')}\0\0`);
  const header = Buffer.from(packet.subarray(0, HEADER_BYTES));
  header.writeInt32BE(HEADER_BYTES + body.length, 0);
  return Buffer.concat([header, body]);
}
