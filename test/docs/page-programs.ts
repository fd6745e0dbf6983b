/** Runs programs of the pages in Chromium, as modules of a page of their own. */
import { join } from 'node:path';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { expect } from 'vitest';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';

/** The origin of these pages. No server is there: their requests are answered here. */
export const ORIGIN = 'https://app.example.com';

export interface Running {
  readonly page: Page;
  /** Lines of the page's console. */
  readonly said: readonly string[];
  /** The value of an expression in the page. */
  value<Value>(expression: string): Promise<Value>;
}

/** Answers to requests of the page's origin, by path. */
type Answers = Readonly<
  Record<string, (headers: Record<string, string>) => Promise<{ readonly status: number; readonly body: string }>>
>;

export interface Surroundings {
  /** What the module has before the page's program. */
  readonly given?: string;
  /** What it has after. */
  readonly after?: string;
  /** Functions that the page may call. */
  readonly functions?: Readonly<Record<string, (...args: never[]) => unknown>>;
  readonly answers?: Answers;
  readonly cookies?: Readonly<Record<string, string>>;
}

const tokenOfAda = async () => ({ status: 200, body: await signToken({ sub: 'ada' }) });

export class PagePrograms {
  readonly #browser: Browser;
  /** The project that has the programs' packages and files. */
  readonly #folder: string;
  readonly #pages: Page[] = [];

  constructor(browser: Browser, folder: string) {
    this.#browser = browser;
    this.#folder = folder;
  }

  /** Returns the module with the packages and files that it imports. */
  async bundleOf(module: string): Promise<string> {
    const { outputFiles } = await build({
      stdin: { contents: module, loader: 'tsx', resolveDir: join(this.#folder, 'src') },
      absWorkingDir: this.#folder,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      jsx: 'automatic',
      define: { 'process.env.NODE_ENV': '"development"', global: 'globalThis' },
      write: false,
    });
    return outputFiles[0]?.text ?? '';
  }

  /** Runs a module in a page, and resolves once its last statement has run. */
  async run(program: string, surroundings: Surroundings = {}): Promise<Running> {
    const { given = '', after = '', functions = {}, answers = {}, cookies = {} } = surroundings;
    const bundle = await this.bundleOf(
      `globalThis.shown = [];\n${given}\n${program}\n${after}\nglobalThis.done = true;`,
    );
    const page = await this.#browser.newPage({ ignoreHTTPSErrors: true });
    this.#pages.push(page);
    const [said, errors]: [string[], string[]] = [[], []];

    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => errors.push(String(error)));
    // Chromium asks the user before a page of another host may reach this machine.
    await page.context().grantPermissions(['local-network-access'], { origin: ORIGIN });
    await page.context().addCookies(Object.entries(cookies).map(([name, value]) => ({ name, value, url: ORIGIN })));
    for (const [name, work] of Object.entries(functions)) await page.exposeFunction(name, work);
    await page.route(`${ORIGIN}/**`, async (route) => {
      const { pathname } = new URL(route.request().url());
      if (pathname === '/page.js') return route.fulfill({ contentType: 'text/javascript', body: bundle });
      if (pathname === '/')
        return route.fulfill({
          contentType: 'text/html',
          body: '<!doctype html><title>app</title><div id=root></div><script type=module src="/page.js"></script>',
        });
      const known: Answers = { '/sno-token': tokenOfAda, ...answers };
      const answer = known[pathname];
      return route.fulfill(answer === undefined ? { status: 404 } : await answer(await route.request().allHeaders()));
    });
    await page.goto(`${ORIGIN}/`);
    await until(async () => {
      if (errors.length > 0) return true;
      return page.evaluate('globalThis.done === true');
    }, 'the program has run');
    expect(errors).toEqual([]);
    return { page, said, value: (expression) => page.evaluate(expression) as never };
  }

  /** Closes all pages. */
  async close(): Promise<void> {
    for (const page of this.#pages.splice(0)) await page.context().close();
  }
}

/** Waits until an expression in the page has this value. */
export const shows = (running: Running, expression: string, wanted: unknown) =>
  until(
    async () => {
      const value = await running.value(expression);
      return JSON.stringify(value) === JSON.stringify(wanted);
    },
    `${expression} is ${JSON.stringify(wanted)}`,
  );
