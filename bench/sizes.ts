/**
 * The code that a page loads for each client library: its main entry, bundled and minified by
 * esbuild, and compressed. The peers are installed from npm into a separate folder.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { buildSync } from 'esbuild';
import { atMost, type Result, Runs } from './figures.ts';

/** The code by which a page imports each package. */
const PEERS: Readonly<Record<string, string>> = {
  'pusher-js@8.6.0': "export { default } from 'pusher-js';",
  'centrifuge@5.8.0': "export { Centrifuge } from 'centrifuge';",
  '@supabase/realtime-js@2.119.1': "export { RealtimeClient } from '@supabase/realtime-js';",
  'socket.io-client@4.8.4': "export { io } from 'socket.io-client';",
};
const CLIENT = resolve('src/client');
const OURS: Readonly<Record<string, string>> = {
  Snö: `export { connect } from '${CLIENT}/index.ts';`,
  'Snö with its React hooks': `export * from '${CLIENT}/index.ts'; export * from '${CLIENT}/react/index.ts';`,
  'Snö with collections of TanStack DB': `export * from '${CLIENT}/index.ts'; export * from '${CLIENT}/tanstack/index.ts';`,
};
/** Packages that the page has in any case, and that are not counted. */
const EXTERNAL = ['react', '@tanstack/db'];
const GZIP = 'bytes, gzip';

export async function benchSizes(): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'sno-sizes-'));
  const results = new Runs();
  try {
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--silent'];
    execFileSync('npm', ['install', ...flags, ...Object.keys(PEERS)], { cwd: folder });
    for (const [of, program] of Object.entries({ ...OURS, ...PEERS })) {
      const bundle = bundleOf(program, folder);
      results.add(of, 'bytes, minified', bundle.length);
      results.add(of, GZIP, gzipSync(bundle, { level: 9 }).length);
      results.add(of, 'bytes, brotli', brotliCompressSync(bundle).length);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return {
    title: 'Sizes of clients',
    conditions: 'one file for browsers, bundled and minified by esbuild; React and TanStack DB are not counted',
    figures: results.figures(),
    targets: Object.keys(PEERS).map((peer) => atMost(`size, times ${peer}`, results.ratio('Snö', peer, GZIP), 1)),
  };
}

function bundleOf(contents: string, resolveDir: string): Uint8Array {
  const { outputFiles } = buildSync({
    stdin: { contents, resolveDir },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    external: EXTERNAL,
    write: false,
    logLevel: 'error',
  });
  return outputFiles[0]?.contents ?? new Uint8Array();
}
