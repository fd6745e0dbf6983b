import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import type { Settings } from '../config/settings.ts';
import { SnoError } from '../errors.ts';
import { misuse } from './arguments.ts';
import type { Command, Invocation } from './command.ts';
import { CLAIM_FLAG, readClaims, signToken } from './development-token.ts';
import { type FollowOptions, follow } from './tail/follow.ts';

const TOKEN_SECONDS = 600;

export const tail: Command = {
  summary: 'follow a channel: one frame a line, as JSON',
  usage: 'CHANNEL [--snapshot] [--since POSITION] [--url wss://HOST/v1] [--token TOKEN | --claim sub=u1]',
  description:
    'Prints the frames of one channel as they arrive, one JSON object per line (NDJSON), until it is interrupted.\n' +
    'It resumes by itself after a lost connection. It connects to the server that the settings describe, unless\n' +
    '--url names another. With --claim and SNO_JWT_SECRET it signs its own token.',
  operands: { min: 1, max: 1 },
  flags: {
    snapshot: { description: "Start with the channel's rows." },
    since: { value: 'POSITION', description: 'Continue after the position of an earlier frame.' },
    url: { value: 'URL', description: 'The server, if not the one of the settings: wss://host:port/v1.' },
    token: { value: 'TOKEN', description: 'The token to send to the server.' },
    claim: CLAIM_FLAG,
    insecure: { description: "Do not verify the server's certificate." },
  },
  settings: ['SNO_HOST', 'SNO_PORT', 'SNO_TLS_CERT', 'SNO_JWT_SECRET', 'SNO_JWT_ISSUER', 'SNO_JWT_AUDIENCE'],
  async run(invocation) {
    const options = followOptions(invocation);
    const interrupted = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
    await follow(options, interrupted.signal);
    return 0;
  },
};

function followOptions({ operands, flags, settings }: Invocation): FollowOptions {
  const snapshot = flags.has('snapshot');
  const since = flags.get('since')?.[0];
  if (snapshot && since !== undefined) throw misuse('tail', '--snapshot and --since exclude each other');
  const url = flags.get('url')?.[0];
  return {
    url: url === undefined ? localUrl(settings) : remoteUrl(url),
    tls: flags.has('insecure') ? { rejectUnauthorized: false } : url === undefined ? localTrust(settings) : {},
    channel: operands[0] as string,
    snapshot,
    since,
    token: tokenSource(flags, settings),
    write,
    warn: (message) => process.stderr.write(`sno: ${message}\n`),
  };
}

function tokenSource(flags: Invocation['flags'], settings: Settings): () => Promise<string | undefined> {
  const given = flags.get('token')?.[0];
  const claims = flags.get('claim');
  if (given !== undefined && claims !== undefined) throw misuse('tail', '--token and --claim exclude each other');
  if (claims === undefined) return async () => given;
  const read = readClaims('tail', claims);
  return () => signToken(settings, read, TOKEN_SECONDS, Date.now());
}

const ANY_ADDRESS: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

function localUrl({ SNO_HOST, SNO_PORT, SNO_TLS_CERT }: Settings): string {
  const host = ANY_ADDRESS[SNO_HOST] ?? SNO_HOST;
  return `${SNO_TLS_CERT === undefined ? 'ws' : 'wss'}://${host.includes(':') ? `[${host}]` : host}:${SNO_PORT}/v1`;
}

/** Trusts the local server's certificate by its file, with any host name. */
function localTrust({ SNO_TLS_CERT }: Settings): FollowOptions['tls'] {
  if (SNO_TLS_CERT === undefined) return {};
  try {
    return { ca: [...rootCertificates, readFileSync(SNO_TLS_CERT, 'utf8')], checkServerIdentity: () => undefined };
  } catch (cause) {
    throw new SnoError('tls_invalid', `cannot read ${SNO_TLS_CERT}: ${(cause as Error).message}`, { cause });
  }
}

const PROTOCOLS: Record<string, string> = { 'ws:': 'ws:', 'wss:': 'wss:', 'http:': 'ws:', 'https:': 'wss:' };

/** Completes a URL: https becomes wss, and the default path is /v1. Throws `usage`. */
function remoteUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const protocol = PROTOCOLS[url?.protocol ?? ''];
  if (url === undefined || protocol === undefined)
    throw misuse('tail', `--url ${text}: must be a URL such as wss://example.com/v1`);
  return `${protocol}//${url.host}${url.pathname === '/' ? '/v1' : url.pathname}${url.search}`;
}

async function write(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain');
}
