import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';

export interface Certificate {
  /** PEM. A client trusts it as its `ca`. */
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
  /**
   * Overwrites the files with a new certificate and key, as a renewal does. Returns the new
   * certificate.
   */
  renew(): Promise<string>;
  remove(): Promise<void>;
}

/** A self-signed certificate for localhost, 127.0.0.1, ::1 and these addresses, in files. */
export async function selfSigned(addresses: readonly string[] = []): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'sno-tls-'));
  const certFile = join(folder, 'cert.pem');
  const keyFile = join(folder, 'key.pem');
  const write = async () => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
      keyType: 'ec',
      algorithm: 'sha256',
      extensions: [
        { name: 'basicConstraints', cA: true },
        { name: 'keyUsage', digitalSignature: true, keyCertSign: true },
        {
          name: 'subjectAltName',
          altNames: [
            { type: 2, value: 'localhost' },
            { type: 7, ip: '127.0.0.1' },
            { type: 7, ip: '::1' },
            ...addresses.map((ip) => ({ type: 7 as const, ip })),
          ],
        },
      ],
    });
    await writeFile(keyFile, key, { mode: 0o600 });
    await writeFile(certFile, cert);
    return { cert, key };
  };
  return {
    ...(await write()),
    certFile,
    keyFile,
    renew: async () => (await write()).cert,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
