/** The dashboard in a real browser, for tests. */
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';

export const ADMIN_TOKEN = 'the-operators-token-of-the-tests';

export interface Dashboard {
  readonly page: Page;
  /** Errors and warnings of the browser, such as a violated content security policy. */
  readonly complaints: readonly string[];
  /** Addresses of all requests so far. */
  readonly requests: readonly string[];
  /** Follows a link of the navigation. Resolves once its view is drawn. */
  view(title: string): Promise<void>;
}

/** Opens the page. The token is not given yet. */
export async function openDashboard(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
  prepare: (page: Page) => Promise<unknown> = async () => undefined,
): Promise<Dashboard> {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options })).newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on('console', (message) => {
    // The browser itself says that a token is refused, or that the service does not answer.
    const isAnswer = /status of 4\d\d|ERR_INTERNET_DISCONNECTED|ERR_CONNECTION/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !isAnswer) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => requests.push(request.url()));
  await prepare(page);
  await page.goto(url);
  return {
    page,
    complaints,
    requests,
    async view(title) {
      const link = page.getByRole('navigation').getByRole('link', { name: title });
      const isElsewhere = await link.evaluate((node) => (node as HTMLAnchorElement).hash !== location.hash);
      await link.click();
      // The link may be the current one already, as that of Channels is for the inspector.
      if (isElsewhere) await page.waitForFunction(() => document.activeElement?.id === 'main');
      await page.evaluate(() => new Promise(requestAnimationFrame));
      await page.locator(`nav a[aria-current="page"]`, { hasText: title }).waitFor();
    },
  };
}

/** Gives the token, and waits until the service has answered. */
export async function signIn(page: Page, token = ADMIN_TOKEN): Promise<void> {
  await page.getByLabel('Token', { exact: true }).fill(token);
  await page.getByRole('button', { name: 'Open the dashboard' }).click();
}

/** A reverse proxy that serves the admin port below a path. */
export async function proxyBelow(path: string, port: number): Promise<{ readonly url: string; close(): void }> {
  const proxy = createServer((incoming, outgoing) => {
    const { method, headers, url = '' } = incoming;
    const asked = request({ port, path: url.slice(path.length), method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    asked.on('error', () => outgoing.destroy());
    incoming.pipe(asked);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${path}/`,
    close() {
      proxy.close();
      proxy.closeAllConnections();
    },
  };
}
