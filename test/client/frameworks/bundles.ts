/** Bundles of test pages, with React in its development build. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const HERE = fileURLToPath(new URL('.', import.meta.url));

/** Each version of React that pages are bundled with. Undefined: that of this repository. */
export const REACTS = { 'React 19': undefined, 'React 18': '18.3.1' } as const;

export async function bundleOf(entry: string, react?: string): Promise<string> {
  // Two versions of react-dom cannot be installed side by side: each needs its React as a peer.
  const folder = react === undefined ? undefined : await install(react);
  try {
    const alias: Record<string, string> = {};
    for (const name of folder === undefined ? [] : ['react', 'react-dom'])
      alias[name] = join(folder as string, 'node_modules', name);
    const { outputFiles } = await build({
      absWorkingDir: HERE,
      entryPoints: [entry],
      alias,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      define: { 'process.env.NODE_ENV': '"development"' },
      write: false,
    });
    return outputFiles[0]?.text ?? '';
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true });
  }
}

async function install(react: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sno-react-'));
  await writeFile(join(folder, 'package.json'), '{ "private": true }');
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--silent'];
  execFileSync('npm', ['install', ...flags, `react@${react}`, `react-dom@${react}`], { cwd: folder });
  return folder;
}
