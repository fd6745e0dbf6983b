/**
 * The certificate, read at start and again whenever its files change, without affecting open
 * connections.
 *
 * The files are checked once a second and not watched. A mounted Kubernetes secret changes by a
 * swap of symlinks two levels up, which fs.watch does not report.
 */
import { constants, randomBytes, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type Server } from 'node:tls';
import type { Settings } from '../config/settings.ts';
import { ERRORS, SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { steadyNow } from '../steady-clock.ts';

const POLL_MS = 1_000;

/** Half the maximum lifetime of session tickets, in ms, so that old traffic stays secret. */
const TICKET_KEYS_MS = 12 * 3_600_000;
const TICKET_KEYS_BYTES = 48;

/**
 * TLS 1.3, and from TLS 1.2 the ciphers with forward secrecy and authenticated encryption:
 * Mozilla's "intermediate", without DHE.
 */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** For `https.createServer` and `setSecureContext`. */
export interface TlsOptions {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly minVersion: 'TLSv1.2';
  readonly ciphers: string;
  readonly secureOptions: number;
  /** The same for every certificate: sessions can be resumed across a reload. */
  readonly ticketKeys: Buffer;
}

type Reloadable = Pick<Server, 'setSecureContext' | 'setTicketKeys'>;

export class Certificate {
  readonly #files: CertificateFiles;
  readonly #logger: Logger;
  #version: string;
  #complained: string | undefined;
  #options: TlsOptions;
  readonly #servers = new Set<Reloadable>();
  #timers: NodeJS.Timeout[] = [];
  #ownsTicketKeys = true;
  #ticketKeysAt = steadyNow();
  /** Called with new ticket keys. */
  onTicketKeys: (keys: Buffer) => void = () => undefined;

  private constructor(files: CertificateFiles, logger: Logger, version: string, options: TlsOptions) {
    this.#files = files;
    this.#logger = logger;
    this.#version = version;
    this.#options = options;
  }

  /**
   * Reads and checks both files. Throws `tls_invalid`. Returns undefined if no files are set. Given
   * ticket keys belong to another process, which renews them: see `takeTicketKeys`.
   */
  static async load(
    { SNO_TLS_CERT: cert, SNO_TLS_KEY: key }: Pick<Settings, 'SNO_TLS_CERT' | 'SNO_TLS_KEY'>,
    logger: Logger,
    ticketKeys?: Buffer,
  ): Promise<Certificate | undefined> {
    if (cert === undefined || key === undefined) return undefined;
    const files = { cert, key };
    const version = await versionOf(files);
    const certificate = new Certificate(
      files,
      logger,
      version,
      await read(files, ticketKeys ?? randomBytes(TICKET_KEYS_BYTES)),
    );
    certificate.#ownsTicketKeys = ticketKeys === undefined;
    certificate.#warnIfExpired();
    return certificate;
  }

  get options(): TlsOptions {
    return this.#options;
  }

  /** When the certificate expires, in ms since 1970. */
  get expiresAt(): number {
    return Date.parse(new X509Certificate(this.#options.cert).validTo);
  }

  /**
   * Gives the server each new certificate from the files. An invalid one is logged and the old one
   * stays.
   */
  serve(server: Reloadable): void {
    this.#servers.add(server);
    this.watch();
  }

  /**
   * Checks the files for changes and renews the ticket keys, for servers here or in other
   * processes.
   */
  watch(): void {
    if (this.#timers.length > 0) return;
    let checking = Promise.resolve();
    this.#timers = [
      setInterval(() => {
        checking = checking.then(() => this.#check());
        // Not a timer of twelve hours: it would stand still while the machine is suspended.
        const isDue = this.#ownsTicketKeys && steadyNow() - this.#ticketKeysAt >= TICKET_KEYS_MS;
        if (isDue) this.takeTicketKeys(randomBytes(TICKET_KEYS_BYTES));
      }, POLL_MS),
    ];
    for (const timer of this.#timers) timer.unref();
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#servers.clear();
  }

  async #check(): Promise<void> {
    const version = await versionOf(this.#files);
    if (version === this.#version) return;
    try {
      this.#options = await read(this.#files, this.#options.ticketKeys);
      for (const server of this.#servers) server.setSecureContext(this.#options);
      this.#version = version;
      this.#complained = undefined;
      this.#logger.info(
        { cert: this.#files.cert, expires: new Date(this.expiresAt).toISOString() },
        'the certificate was reloaded',
      );
      this.#warnIfExpired();
    } catch (error) {
      // Perhaps only one of the two files has been replaced so far: they are checked again each
      // time, and logged once.
      if (version !== this.#complained)
        this.#logger.error(
          { code: 'tls_invalid', error: (error as Error).message, hint: ERRORS.tls_invalid.hint },
          'the new certificate is invalid; the old one stays in use',
        );
      this.#complained = version;
    }
  }

  /** Uses these keys for new session tickets. */
  takeTicketKeys(ticketKeys: Buffer): void {
    this.#ticketKeysAt = steadyNow();
    this.#options = { ...this.#options, ticketKeys };
    for (const server of this.#servers) server.setTicketKeys(ticketKeys);
    this.onTicketKeys(ticketKeys);
  }

  #warnIfExpired(): void {
    if (this.expiresAt < Date.now())
      this.#logger.warn(
        { cert: this.#files.cert, hint: ERRORS.tls_invalid.hint },
        'the certificate has expired: clients will refuse it',
      );
  }
}

async function read(files: CertificateFiles, ticketKeys: Buffer): Promise<TlsOptions> {
  try {
    const [cert, key] = await Promise.all([readFile(files.cert), readFile(files.key)]);
    const options = {
      cert,
      key,
      minVersion: 'TLSv1.2',
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      ticketKeys,
    } as const;
    // Throws if either is not PEM, or the key belongs to another certificate.
    createSecureContext(options);
    return options;
  } catch (cause) {
    throw new SnoError('tls_invalid', `${files.cert} and ${files.key}: ${(cause as Error).message}`, { cause });
  }
}

/** Distinguishes two versions of the files, through symlinks. */
async function versionOf(files: CertificateFiles): Promise<string> {
  const stats = await Promise.all(
    [files.cert, files.key].map((file) => stat(file, { bigint: true }).catch(() => undefined)),
  );
  return stats
    .map((found) => (found === undefined ? 'missing' : `${found.dev}:${found.ino}:${found.size}:${found.mtimeNs}`))
    .join(' ');
}
