/**
 * Checks of a page that a program can make: names of controls, tables with captions, landmarks, and
 * contrast. Runs in the page.
 */

/** Faults of the page, one line each. Empty: no fault was found. */
export function accessibilityFaults(): string[] {
  const faults: string[] = [];
  const visible = (element: Element) => (element as HTMLElement).checkVisibility({ visibilityProperty: true });
  const all = (selector: string) => [...document.querySelectorAll(selector)].filter(visible);

  for (const [selector, what] of [
    ['main', 'main'],
    ['nav[aria-label]', 'navigation'],
    ['header', 'header'],
    ['h1', 'heading of level 1'],
    ['[role="status"]', 'live region'],
  ] as const)
    if (document.querySelectorAll(selector).length === 0) faults.push(`the page has no ${what}`);
  if (!document.documentElement.lang) faults.push('the page has no language');
  if (document.title === '') faults.push('the page has no title');

  const ids = all('[id]').map(({ id }) => id);
  for (const id of new Set(ids))
    if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`two elements have the id ${id}`);

  for (const attribute of ['aria-labelledby', 'aria-describedby'])
    for (const element of all(`[${attribute}]`))
      for (const id of element.getAttribute(attribute)?.split(' ') ?? [])
        if (document.getElementById(id) === null) faults.push(`${attribute} names ${id}, which is missing`);

  for (const control of all('button, input, select, textarea, a[href], summary')) {
    const labels = 'labels' in control ? [...((control as HTMLInputElement).labels ?? [])] : [];
    const name = [control.getAttribute('aria-label'), ...labels.map((label) => label.textContent), control.textContent];
    if (name.join('').trim() === '') faults.push(`no name: ${control.outerHTML.slice(0, 120)}`);
    const { width, height } = control.getBoundingClientRect();
    const isInline = control.matches('a, input[type="radio"]');
    if (!isInline && (width < 24 || height < 16)) faults.push(`too small: ${control.outerHTML.slice(0, 120)}`);
  }
  for (const table of all('table')) {
    if ((table.querySelector('caption')?.textContent ?? '') === '') faults.push('a table has no caption');
    if (table.querySelectorAll('tbody tr:not(.more) > th[scope="row"]').length === 0)
      faults.push('a table has no row headings');
  }
  for (const scroller of all('pre, .table, .frames')) {
    const isScrolled =
      scroller.scrollWidth > scroller.clientWidth + 1 || scroller.scrollHeight > scroller.clientHeight + 1;
    const { overflowX, overflowY } = getComputedStyle(scroller);
    const canScroll = [overflowX, overflowY].some((value) => value === 'auto' || value === 'scroll');
    if (isScrolled && canScroll && (scroller as HTMLElement).tabIndex < 0)
      faults.push(`no key scrolls ${scroller.className || scroller.tagName}`);
  }

  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  if (canvas === null) return [...faults, 'no canvas'];
  /** The colour that is seen where these lie above each other, the lowest first. */
  const mixed = (colours: readonly string[]) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (colour: readonly number[]) => {
    const [red = 0, green = 0, blue = 0] = colour.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node !== null; node = texts.nextNode()) {
    const parent = node.parentElement;
    if (parent === null || node.textContent?.trim() === '' || !visible(parent)) continue;
    if (parent.closest('.visually-hidden, button:disabled, noscript') !== null) continue;
    const grounds: string[] = [];
    for (let each: Element | null = parent; each !== null; each = each.parentElement)
      grounds.unshift(getComputedStyle(each).backgroundColor);
    const text = luminance(mixed([...grounds, getComputedStyle(parent).color]));
    const ground = luminance(mixed(grounds));
    const contrast = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(2)}: ${node.textContent?.trim().slice(0, 40)}`);
  }
  return faults;
}
