/** The advice for a server that answers the request for TLS in an unusable way. */
import { once } from 'node:events';
import { type AddressInfo, createServer, Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { resolveTarget } from '../../src/postgres/conninfo/target.ts';
import { type AttemptFailure, dial } from '../../src/postgres/dial.ts';
import { loginFault } from '../../src/postgres/login-fault.ts';

/** Starts a server that answers the first bytes of each connection with `answer`. */
async function serverThatAnswers(answer: string): Promise<number> {
  const server = createServer((socket) => {
    socket.once('data', () => socket.end(answer)).on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test.each([
  ['refuses TLS', '', 'N', 'does not support TLS', 'Turn on TLS there'],
  ['is not Postgres', '', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'does not speak', 'Check the host and the port'],
  ['is older than 17', '&sslnegotiation=direct', '', 'disconnected', 'needs Postgres 17'],
])('says what to do about a server that %s', async (_, parameter, answer, message, hint) => {
  const port = await serverThatAnswers(answer);
  const target = resolveTarget(`postgres://app@127.0.0.1:${port}/app?sslmode=require${parameter}`, {});
  const [host] = target.hosts;
  if (host === undefined) throw new Error('the target has no host');
  const attempt = dial({ target, host, isEncrypted: true, makeSocket: () => new Socket(), onSocket: () => undefined });
  const failure = await attempt.then(
    () => undefined,
    (error: AttemptFailure) => error,
  );
  expect(failure).toBeDefined();
  const fault = loginFault([failure as AttemptFailure], target, false);
  expect(fault).toMatchObject({ code: 'database_unreachable', message: expect.stringContaining(message) as string });
  expect(fault.hint).toContain(hint);
});
