/** A page in the browser that runs a bundle, and what its console complains of. */
import type { Browser, Page } from 'playwright-core';

/** The page's origin. No server is there: the test answers its requests. */
export const ORIGIN = 'https://app.test';
const PAGE = '<!doctype html><title>app</title><div id=root></div><script type=module src="/page.js"></script>';

export interface OpenedPage {
  readonly page: Page;
  /** Errors and warnings in the page's console. */
  readonly complaints: string[];
}

/** Resolves once the bundle has set `globalThis.app`. */
export async function openPage(browser: Browser, bundle: string): Promise<OpenedPage> {
  const complaints: string[] = [];
  const page = await browser.newPage({ ignoreHTTPSErrors: true });
  page.on('console', (message) => {
    const text = message.text();
    // Chromium reports a socket that the server has cut.
    if (['error', 'warning'].includes(message.type()) && !text.includes('WebSocket')) complaints.push(text);
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.route(`${ORIGIN}/**`, (route) =>
    route.fulfill(
      route.request().url().endsWith('/page.js')
        ? { contentType: 'text/javascript', body: bundle }
        : { contentType: 'text/html', body: PAGE },
    ),
  );
  await page.goto(`${ORIGIN}/`);
  await page.waitForFunction(() => 'app' in globalThis);
  return { page, complaints };
}
