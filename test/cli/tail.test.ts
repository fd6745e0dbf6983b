import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { type FollowOptions, follow } from '../../src/cli/tail/follow.ts';
import { Tap } from '../../src/cli/tail/tap.ts';
import { until } from '../support/wait.ts';

/** The server's side of one connection: it is called with each frame of the client. */
type Script = (socket: WebSocket, frame: Record<string, unknown>) => void;

let server: WebSocketServer;
let lines: string[];
let warnings: string[];
/** The client's frames, by connection. */
let received: Record<string, unknown>[][];
let scripts: Script[];

beforeEach(async () => {
  [lines, warnings, received, scripts] = [[], [], [], []];
  server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket) => {
    const script = scripts[received.length] ?? (() => {});
    const frames: Record<string, unknown>[] = [];
    received.push(frames);
    socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as Record<string, unknown>;
      frames.push(frame);
      script(socket, frame);
    });
  });
  await once(server, 'listening');
});
afterEach(() => {
  for (const socket of server.clients) socket.terminate();
  server.close();
});

const urlOf = (of: WebSocketServer) => `ws://127.0.0.1:${(of.address() as AddressInfo).port}/v1`;

function run(options: Partial<FollowOptions> = {}) {
  const stop = new AbortController();
  const ended = follow(
    {
      url: urlOf(server),
      tls: {},
      channel: 'room:1',
      snapshot: false,
      since: undefined,
      token: async () => undefined,
      write: async (line) => {
        lines.push(line);
      },
      warn: (message) => {
        warnings.push(message);
      },
      ...options,
    },
    stop.signal,
  );
  return { ended, stop: () => stop.abort() };
}

const send = (socket: WebSocket, ...frames: object[]) => {
  for (const frame of frames) socket.send(JSON.stringify(frame));
};
const subscribed = (position: string) => ({ type: 'subscribed', channel: 'room:1', position });
const changes = (position: string, more: object = {}) => ({
  type: 'changes',
  channel: 'room:1',
  position,
  events: [],
  ...more,
});
/** Sends the answer to a subscribe. */
const onSubscribe =
  (answer: (socket: WebSocket) => void): Script =>
  (socket, { type }) => {
    if (type === 'subscribe') answer(socket);
  };
const subscribes = () => received.map((frames) => frames.filter(({ type }) => type === 'subscribe'));

describe('sends the options in its subscribe', () => {
  test.each([
    [{}, {}],
    [{ snapshot: true }, { snapshot: true }],
    [{ since: 'p0' }, { since: 'p0' }],
  ])('%o', async (options, members) => {
    scripts = [onSubscribe((socket) => send(socket, subscribed('p1')))];
    const { ended, stop } = run({ ...options, token: async () => 'a.b.c' });
    await until(() => lines.length === 1, 'the answer');
    expect(received).toEqual([
      [
        { type: 'hello', token: 'a.b.c' },
        { type: 'subscribe', channel: 'room:1', ...members },
      ],
    ]);
    stop();
    await ended;
  });
});

describe('output', () => {
  test('writes frames as they came, one a line, but neither welcome nor heartbeats', async () => {
    const raw = '{"type":"message","channel":"room:1","position":"p2","event":"x","data":{"a":1.50,\r\n"b":"\\n"}}';
    scripts = [
      onSubscribe((socket) => {
        send(socket, { type: 'welcome', heartbeat_s: 25 }, subscribed('p1'), { type: 'heartbeat', position: 'p1' });
        socket.send(raw);
      }),
    ];
    const { ended, stop } = run();
    await until(() => lines.length === 2, 'both');
    expect(lines).toEqual([JSON.stringify(subscribed('p1')), raw.replace('\r\n', '  ')]);
    stop();
    await ended;
  });
});

describe('while the output is blocked', () => {
  test('reads nothing until all lines are written', async () => {
    const write: (() => void)[] = [];
    const tap = new Tap(urlOf(server), {
      tls: {},
      snapshot: false,
      write: () => new Promise((resolve) => write.push(resolve)),
      wasJoined: () => true,
      end: () => {},
    });
    await once(tap, 'open');
    const [socket] = server.clients as Set<WebSocket & { _socket: Socket }>;
    // Both frames arrive in one piece.
    socket?._socket.cork();
    send(socket as WebSocket, subscribed('p1'), changes('p2'));
    socket?._socket.uncork();
    await until(() => write.length === 2, 'both frames wait');
    write[0]?.();
    await Promise.resolve();
    expect(tap.isPaused).toBe(true);
    write[1]?.();
    await until(() => !tap.isPaused, 'it reads on');
    tap.close();
  });

  test('does not give up the connection as silent', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
    try {
      scripts = [onSubscribe((socket) => send(socket, { type: 'welcome', heartbeat_s: 25 }, subscribed('p1')))];
      let written = () => {};
      const { ended, stop } = run({
        write: (line) =>
          new Promise((resolve) => {
            lines.push(line);
            written = resolve;
          }),
      });
      await until(() => lines.length === 1, 'the first line waits');
      vi.advanceTimersByTime(600_000);
      written();
      send([...server.clients][0] as WebSocket, changes('p2'));
      await until(() => lines.length === 2, 'the connection goes on');
      expect(received).toHaveLength(1);
      written();
      stop();
      await ended;
    } finally {
      vi.useRealTimers();
    }
  });
});

test('reports text that is not a frame, and reconnects', async () => {
  scripts = [onSubscribe((socket) => socket.send('<html>')), onSubscribe((socket) => send(socket, subscribed('p1')))];
  const { ended, stop } = run();
  await until(() => lines.length === 1, 'the connection is back');
  expect(warnings).toEqual(['The server sent an invalid frame; trying again']);
  stop();
  await ended;
});

describe('reconnecting', () => {
  test('resumes after the last whole commit when the connection was lost', async () => {
    scripts = [
      onSubscribe((socket) => {
        send(socket, subscribed('p1'), changes('p2'), changes('p3', { part: 1, last: false }));
        // neither of these positions may be resumed from while a commit is incomplete
        send(socket, { type: 'message', channel: 'room:1', position: 'p4', event: 'x', data: 1 });
        send(socket, { type: 'heartbeat', position: 'p4' });
        socket.close(1001, 'draining');
      }),
      onSubscribe((socket) => send(socket, subscribed('p2'), changes('p3', { part: 1, last: false }))),
    ];
    const { ended, stop } = run({ snapshot: true });
    await until(() => lines.length === 6, 'the part has come again');
    expect(subscribes()).toEqual([
      [{ type: 'subscribe', channel: 'room:1', snapshot: true }],
      [{ type: 'subscribe', channel: 'room:1', since: 'p2' }],
    ]);
    expect(warnings).toEqual([expect.stringMatching(/1001 draining; trying again$/)]);
    stop();
    await ended;
  });

  test('resumes from the position of a heartbeat', async () => {
    scripts = [
      onSubscribe((socket) => {
        send(socket, subscribed('p1'), { type: 'heartbeat', position: 'p9' });
        socket.close(1013);
      }),
      onSubscribe((socket) => send(socket, subscribed('p9'))),
    ];
    const { ended, stop } = run();
    await until(() => lines.length === 2, 'it is back');
    expect(subscribes()[1]).toEqual([{ type: 'subscribe', channel: 'room:1', since: 'p9' }]);
    stop();
    await ended;
  });

  test('starts again if it is disconnected before `subscribed`', async () => {
    let asked = 0;
    scripts = [
      onSubscribe((socket) => {
        if (++asked === 1) {
          send(socket, subscribed('p1'), { type: 'reset', channel: 'room:1', reason: 'lagging' });
        } else {
          send(socket, { type: 'snapshot', channel: 'room:1', rows: [], part: 1, last: true }, changes('p4'));
          socket.terminate();
        }
      }),
      onSubscribe((socket) => send(socket, subscribed('p5'))),
    ];
    const { ended, stop } = run({ snapshot: true });
    await until(() => received.length === 2 && lines.some((line) => line.includes('p5')), 'it is back');
    const snapshot = { type: 'subscribe', channel: 'room:1', snapshot: true };
    expect(subscribes()).toEqual([[snapshot, snapshot], [snapshot]]);
    stop();
    await ended;
  });

  test('asks for a new token when the old one has expired', async () => {
    let tokens = 0;
    scripts = [
      onSubscribe((socket) => {
        send(socket, subscribed('p1'), { type: 'unsubscribed', channel: 'room:1', code: 'token_expired' });
      }),
      onSubscribe((socket) => send(socket, subscribed('p1'))),
    ];
    const { ended, stop } = run({ token: async () => `t${++tokens}` });
    await until(() => lines.length === 3, 'it is back');
    expect(received.map((frames) => frames[0])).toEqual([
      { type: 'hello', token: 't1' },
      { type: 'hello', token: 't2' },
    ]);
    stop();
    await ended;
  });
});

test('subscribes again with a snapshot when a migration drops a channel and creates it again', async () => {
  const gone = (code: string) => ({ type: 'error', code, message: 'gone', channel: 'room:1' });
  scripts = [
    onSubscribe((socket) =>
      send(socket, subscribed('p1'), { type: 'unsubscribed', channel: 'room:1', code: 'channel_dropped' }),
    ),
    onSubscribe((socket) => send(socket, gone('channel_unknown'))),
    onSubscribe((socket) => send(socket, subscribed('p5'))),
  ];
  const { ended, stop } = run({ snapshot: true });
  await until(() => lines.length === 3, 'the channel is back');
  const snapshot = { type: 'subscribe', channel: 'room:1', snapshot: true };
  expect(subscribes()).toEqual([[snapshot], [snapshot], [snapshot]]);
  stop();
  await ended;
});

test('retries a channel whose view is refused, and names `sno check`', async () => {
  const refused = { type: 'error', code: 'channel_unavailable', message: 'its view is refused.', channel: 'room:1' };
  scripts = [onSubscribe((socket) => send(socket, refused))];
  const { ended, stop } = run();
  await until(() => warnings.length > 0, 'a warning');
  expect(warnings[0]).toMatch(/refused.*`sno check`.*trying again$/);
  stop();
  await ended;
});

describe('ends with an error', () => {
  const denied = {
    type: 'error',
    code: 'access_denied',
    message: 'No. Give the user access, or use another token.',
    channel: 'room:1',
  };

  test.each([
    ['an error of the channel', (socket: WebSocket) => send(socket, denied), { code: 'access_denied', message: 'No' }],
    [
      'a revoked subscription',
      (socket: WebSocket) => send(socket, { type: 'unsubscribed', channel: 'room:1', code: 'access_revoked' }),
      { code: 'access_denied', message: 'unsubscribed: access_revoked' },
    ],
    [
      'a channel that never existed',
      (socket: WebSocket) => send(socket, { ...denied, code: 'channel_unknown', message: 'none' }),
      { code: 'channel_unknown', message: 'none' },
    ],
    ['a close that blames the client', (socket: WebSocket) => socket.close(4400), { code: 'server_unreachable' }],
    [
      'an error before such a close',
      (socket: WebSocket) => {
        send(socket, { type: 'error', code: 'token_invalid', message: 'bad' });
        socket.close(4401, 'token_invalid');
      },
      { code: 'token_invalid', message: 'bad' },
    ],
  ])('%s', async (_, answer, error) => {
    scripts = [onSubscribe(answer)];
    await expect(run().ended).rejects.toMatchObject(error);
    expect(received).toHaveLength(1);
  });

  test('explains in words that a port does not speak TLS', async () => {
    const { port } = server.address() as AddressInfo;
    const error = await run({ url: `wss://127.0.0.1:${port}/v1` }).ended.catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'server_unreachable',
      hint: expect.stringMatching(/^The port does not speak TLS/),
    });
    expect(String(error)).toMatch(/: cannot connect to wss:\S+: [a-z ]+$/);
  });

  test('fails if no server answers the first attempt', async () => {
    const ended = run({ url: 'ws://127.0.0.1:1/v1' }).ended;
    await expect(ended).rejects.toMatchObject({ code: 'server_unreachable' });
  });
});
