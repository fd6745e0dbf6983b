/**
 * The certificate: read at start, and again whenever its files change, without touching the connections that are open.
 *
 * The files are looked at once a second rather than watched: what is mounted from a Kubernetes secret changes by a swap of
 * symlinks two levels up, which fs.watch does not see.
 */
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type Server } from 'node:tls';
import { SnoError } from '../errors.ts';
import type { Logger } from '../logger.ts';

const POLL_MS = 1_000;

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

interface TlsOptions {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly minVersion: 'TLSv1.2';
}

export class Certificate {
  readonly #files: CertificateFiles;
  readonly #logger: Logger;
  #version: string;
  #complained: string | undefined;
  /** For `https.createServer`. */
  readonly options: TlsOptions;

  private constructor(files: CertificateFiles, logger: Logger, version: string, options: TlsOptions) {
    this.#files = files;
    this.#logger = logger;
    this.#version = version;
    this.options = options;
  }

  /** Reads and checks both files; throws `tls_invalid`. */
  static async load(files: CertificateFiles, logger: Logger): Promise<Certificate> {
    const version = await versionOf(files);
    return new Certificate(files, logger, version, await read(files));
  }

  /** Gives the server the new certificate when the files hold one; a bad one is logged and the old one stays. Returns how to stop. */
  watch(server: Pick<Server, 'setSecureContext'>): () => void {
    let looking = Promise.resolve();
    const timer = setInterval(() => {
      looking = looking.then(() => this.#look(server));
    }, POLL_MS);
    timer.unref();
    return () => clearInterval(timer);
  }

  async #look(server: Pick<Server, 'setSecureContext'>): Promise<void> {
    const version = await versionOf(this.#files);
    if (version === this.#version) return;
    try {
      server.setSecureContext(await read(this.#files));
      this.#version = version;
      this.#logger.info({ cert: this.#files.cert }, 'the certificate was reloaded');
    } catch (error) {
      // Perhaps only one of the two has been replaced so far: looked at again each time, complained of once.
      if (version !== this.#complained)
        this.#logger.error({ error: (error as Error).message }, 'the new certificate is not usable; the old one stays');
      this.#complained = version;
    }
  }
}

async function read(files: CertificateFiles): Promise<TlsOptions> {
  try {
    const [cert, key] = await Promise.all([readFile(files.cert), readFile(files.key)]);
    const options = { cert, key, minVersion: 'TLSv1.2' } as const;
    // Throws where either is not PEM, or the key is another certificate's.
    createSecureContext(options);
    return options;
  } catch (cause) {
    throw new SnoError('tls_invalid', `${files.cert} and ${files.key}: ${(cause as Error).message}`, { cause });
  }
}

/** Tells two versions of the files apart, through symlinks. */
async function versionOf(files: CertificateFiles): Promise<string> {
  const stats = await Promise.all(
    [files.cert, files.key].map((file) => stat(file, { bigint: true }).catch(() => undefined)),
  );
  return stats
    .map((found) => (found === undefined ? 'missing' : `${found.dev}:${found.ino}:${found.size}:${found.mtimeNs}`))
    .join(' ');
}
