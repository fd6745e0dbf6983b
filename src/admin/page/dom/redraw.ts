/**
 * Brings a shown element up to date with a newly drawn one, and touches only what differs. So
 * focus, selected text, scroll places and typed text survive the next poll.
 */
import { HANDLERS, type Handlers } from './element.ts';

/** Attributes that the reader changes: a redraw neither opens nor closes shown details. */
const KEPT = ['open'];

/** Makes the element's children equal to these. Children with the same `data-key` are the same. */
export function redraw(shown: Element, ...wanted: readonly Node[]): void {
  const focused = document.activeElement;
  updateChildren(shown, wanted);
  // An element that was moved has lost the focus.
  if (focused instanceof HTMLElement && focused !== document.activeElement && shown.contains(focused)) focused.focus();
}

function updateChildren(shown: Element, wanted: readonly Node[]): void {
  const keyed = new Map<string, Node>();
  for (const child of shown.childNodes) {
    const key = keyOf(child);
    if (key !== undefined) keyed.set(key, child);
  }
  let at = shown.firstChild;
  for (const next of wanted) {
    const key = keyOf(next);
    const match = key === undefined ? at : keyed.get(key);
    if (match === null || match === undefined || !isSameKind(match, next)) {
      shown.insertBefore(next, at);
      continue;
    }
    if (key !== undefined) keyed.delete(key);
    if (match === at) at = at.nextSibling;
    else shown.insertBefore(match, at);
    update(match, next);
  }
  while (at !== null) {
    const { nextSibling } = at;
    at.remove();
    at = nextSibling;
  }
}

function update(shown: Node, wanted: Node): void {
  if (!(shown instanceof Element && wanted instanceof Element)) {
    if (shown.nodeValue !== wanted.nodeValue) shown.nodeValue = wanted.nodeValue;
    return;
  }
  for (const { name } of [...shown.attributes])
    if (!wanted.hasAttribute(name) && !KEPT.includes(name)) shown.removeAttribute(name);
  for (const { name, value } of wanted.attributes)
    if (shown.getAttribute(name) !== value && !KEPT.includes(name)) shown.setAttribute(name, value);
  for (const name of HANDLERS) (shown as Handlers)[name] = (wanted as Handlers)[name] ?? null;
  updateChildren(shown, [...wanted.childNodes]);
}

function keyOf(node: Node): string | undefined {
  return node instanceof Element ? (node.getAttribute('data-key') ?? undefined) : undefined;
}

function isSameKind(one: Node, other: Node): boolean {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}
