import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What a page pays for the client. Raise it only for what a page gets in return. */
const GZIP_BYTES_MAX = 11_776;

test('the client is one small file that needs nothing else', async () => {
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
  expect(gzipSync(file?.contents ?? '').length).toBeLessThan(GZIP_BYTES_MAX);
});
