/** A certificate authority for tests. Its certificates are files. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generate } from 'selfsigned';

interface Pair {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Authority {
  readonly certFile: string;
  /** Signs a certificate for a name, with alternative names. */
  issue(name: string, altNames?: readonly AltName[]): Promise<Pair>;
}

type AltName = { readonly type: 2; readonly value: string } | { readonly type: 7; readonly ip: string };

const OPTIONS = { keyType: 'ec', algorithm: 'sha256' } as const;

export async function createAuthority(folder: string, name: string): Promise<Authority> {
  const own = await generate([{ name: 'commonName', value: name }], {
    ...OPTIONS,
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true },
    ],
  });
  const certFile = join(folder, `${name}.crt`);
  await writeFile(certFile, own.cert);
  return {
    certFile,
    async issue(subject, altNames = []) {
      const { cert, private: key } = await generate([{ name: 'commonName', value: subject }], {
        ...OPTIONS,
        ca: { key: own.private, cert: own.cert },
        extensions: [
          { name: 'basicConstraints', cA: false },
          ...(altNames.length === 0 ? [] : [{ name: 'subjectAltName' as const, altNames: [...altNames] }]),
        ],
      });
      const pair = { certFile: join(folder, `${subject}.crt`), keyFile: join(folder, `${subject}.key`) };
      await writeFile(pair.certFile, cert);
      await writeFile(pair.keyFile, key, { mode: 0o600 });
      return pair;
    },
  };
}
