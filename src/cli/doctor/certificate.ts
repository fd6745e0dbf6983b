/** Checks the certificate for clients: its key, its expiry and its chain. */
import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { isLoopback } from '../../config/loopback.ts';
import type { Settings } from '../../config/settings.ts';
import { SnoError } from '../../errors.ts';
import { Certificate } from '../../http/tls.ts';
import { createLogger } from '../../logger.ts';
import { fail, type Outcome, ok, warn } from './finding.ts';

type TlsSettings = Pick<Settings, 'SNO_TLS' | 'SNO_TLS_CERT' | 'SNO_TLS_KEY' | 'SNO_HOST'>;

const DAY_MS = 86_400_000;
/** Days before the expiry from which on it is a warning. */
const DAYS_MIN = 14;
const OTHERS_MAY_READ = 0o004;

/** `now`: in ms since 1970. */
export async function certificateOutcomes(settings: TlsSettings, now: number): Promise<readonly Outcome[]> {
  const { SNO_TLS_CERT: file, SNO_TLS_KEY: keyFile, SNO_TLS: mode, SNO_HOST: host } = settings;
  if (file === undefined || keyFile === undefined)
    return [
      ok(
        mode === 'off' || !isLoopback(host)
          ? 'no certificate is set: a proxy terminates TLS'
          : 'no certificate is set: clients on this machine only',
      ),
    ];
  try {
    await Certificate.load(settings, createLogger('silent'));
  } catch (error) {
    if (!(error instanceof SnoError)) throw error;
    return [fail(error.message, error.hint)];
  }
  const chain = certificatesIn(await readFile(file, 'utf8'));
  const { mode: access } = await stat(keyFile);
  return [
    expiryOutcome(file, chain[0] as X509Certificate, now),
    chainOutcome(file, chain),
    ...((access & OTHERS_MAY_READ) === 0
      ? []
      : [warn(`${keyFile} can be read by every user of this machine`, `Run: chmod o-r ${keyFile}`)]),
  ];
}

function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

function expiryOutcome(file: string, { validFrom, validTo }: X509Certificate, now: number): Outcome {
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  const renew = 'Renew it: Snö reads the files again when they change.';
  if (from > now)
    return fail(`the certificate in ${file} is valid only from ${validFrom} on`, 'Check the clock of this machine.');
  if (to <= now) return fail(`the certificate in ${file} expired on ${validTo}: clients refuse it`, renew);
  const days = Math.floor((to - now) / DAY_MS);
  const text = `the certificate in ${file} expires in ${days} days, on ${validTo}`;
  return days < DAYS_MIN ? warn(text, renew) : ok(text);
}

/** Browsers fetch missing certificates of authorities; other clients refuse such a chain. */
function chainOutcome(file: string, chain: readonly X509Certificate[]): Outcome {
  const hint = `Put the server's certificate first into ${file}, then that of its issuer, and so on: most authorities call this file fullchain.pem.`;
  const wrong = chain.findIndex((each, index) => index > 0 && chain[index - 1]?.checkIssued(each) === false);
  if (wrong > 0)
    return fail(
      `in ${file}, certificate ${wrong + 1} (${nameOf(chain[wrong]?.subject)}) did not issue the one before it`,
      hint,
    );
  const last = chain.at(-1) as X509Certificate;
  if (last.checkIssued(last))
    return chain.length === 1
      ? ok('the certificate is self-signed: clients have to be told to trust it')
      : ok(`the chain ends at ${nameOf(last.subject)}`);
  const root = rootCertificates.map((each) => new X509Certificate(each)).find((each) => last.checkIssued(each));
  if (root !== undefined) return ok(`the chain is complete up to ${nameOf(root.subject)}`);
  return warn(
    `the chain in ${file} ends at ${nameOf(last.subject)}, and the certificate of its issuer ${nameOf(last.issuer)} is neither in the file nor a well-known root`,
    `${hint} With an authority of your own, clients have to trust it.`,
  );
}

function nameOf(distinguished = ''): string {
  return /^CN=(.*)$/m.exec(distinguished)?.[1] ?? distinguished.replaceAll('\n', ', ');
}
