import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Maximum size of the client that a page loads, compressed. Raise it only if pages gain something
 * for it.
 */
const GZIP_BYTES_MAX = 11_400;

test('the client is one small file without dependencies', async () => {
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ['src/client/index.ts'],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    metafile: true,
    write: false,
  });
  const [file] = outputFiles;
  expect(outputFiles).toHaveLength(1);
  expect(Object.values(metafile.outputs).flatMap((output) => output.imports)).toEqual([]);
  // Advice that only programs outside of pages need.
  expect(file?.text).not.toMatch(/NODE_EXTRA_CA_CERTS|maxPayload|ECONNREFUSED|from version 22/);
  expect(gzipSync(file?.contents ?? '').length).toBeLessThan(GZIP_BYTES_MAX);
});
