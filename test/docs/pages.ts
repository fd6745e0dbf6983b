/** All pages, which of them a reader follows, and the blocks that pages leave to other tests. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Block, blocksOf } from './blocks.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const read = (page: string): string => readFileSync(`${ROOT}${page}`, 'utf8');
export const pagesIn = (folder: string): string[] =>
  readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${folder}/${file}`);

/** The README of the client's package is the page that a registry shows. */
export const PAGES: readonly string[] = [
  'README.md',
  ...pagesIn('docs'),
  ...pagesIn('ops'),
  'src/client/package/README.md',
];

/** Pages that a reader follows from their first block to their last, by the test that does so. */
export const FOLLOWED: Readonly<Record<string, readonly string[]>> = {
  'test/docs/pages.e2e.test.ts': [
    'README.md',
    'docs/tutorial.md',
    'docs/howto/managed-postgres.md',
    'docs/howto/install.md',
    'docs/howto/deploy.md',
    'docs/channels.md',
    'docs/migrations.md',
    'docs/howto/worker.md',
    'docs/howto/multi-tenant.md',
    'docs/howto/optimistic-ui.md',
    'docs/howto/from-publish-api.md',
    'docs/howto/from-electric.md',
    'docs/howto/from-sequin.md',
    'docs/howto/from-supabase-realtime.md',
    'docs/admin-api.md',
    'docs/sse.md',
    'docs/howto/token-server.md',
  ],
  'test/docs/proxies.e2e.test.ts': ['docs/howto/proxies.md'],
};

/** Whether a block is left to another test, or is not run. */
export const isFollowed = ({ language, words }: Block): boolean =>
  !words.has('elsewhere') && !words.has('check') && language !== 'console';

/** The blocks that pages leave to a test. The test's last case expects `left` to be empty. */
export class BlocksFor {
  readonly #blocks = new Map<string, Block>();
  readonly #taken = new Set<string>();

  /** `test`: the path of the test, from the root. */
  constructor(test: string) {
    for (const page of PAGES)
      for (const block of blocksOf(read(page)))
        if (block.words.get('elsewhere') === test) this.#blocks.set(`${page}:${block.line}`, block);
  }

  /** Takes the block of a page that has this text. Throws unless there is one such block. */
  take(page: string, text: string): Block {
    const [found, ...others] = [...this.#blocks].filter(
      ([at, block]) => at.startsWith(`${page}:`) && block.text.includes(text),
    );
    if (found === undefined || others.length > 0) throw new Error(`${page} has not one block with ${text}`);
    const [at, block] = found;
    this.#taken.add(at);
    return { ...block, words: new Map([...block.words].filter(([word]) => word !== 'elsewhere')) };
  }

  /** Takes the files that a page has its reader save. */
  files(page: string): Map<string, string> {
    const saved = [...this.#blocks].filter(([at, { words }]) => at.startsWith(`${page}:`) && words.has('file'));
    for (const [at] of saved) this.#taken.add(at);
    return new Map(saved.map(([, { words, text }]) => [words.get('file') as string, text]));
  }

  /** Places of the blocks that the test has not taken. */
  get left(): string[] {
    return [...this.#blocks.keys()].filter((at) => !this.#taken.has(at));
  }
}
