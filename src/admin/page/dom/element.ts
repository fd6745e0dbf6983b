/**
 * Makes elements. Text is set as text, never as markup: channel names, values and users come from
 * the database and from clients.
 */

export type Child = Node | string | undefined | false;
export type Handler = (event: Event) => void;
/** `true` sets an attribute without a value; `undefined` and `false` set no attribute. */
export type Attributes = Readonly<Record<string, string | number | boolean | undefined | Handler>>;

/** Events that an element may handle. Only these are carried over when the page is redrawn. */
export const HANDLERS = ['onclick', 'oninput', 'onchange', 'onsubmit', 'onpointermove', 'onpointerleave'] as const;
type HandlerName = (typeof HANDLERS)[number];
export type Handlers = Partial<Record<HandlerName, Handler | null>>;

const SVG = 'http://www.w3.org/2000/svg';

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  return furnish(document.createElement(tag), attributes, children);
}

export function svgElement<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[Tag] {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

/** The element of index.html with this id. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

function furnish<Kind extends Element>(made: Kind, attributes: Attributes, children: readonly Child[]): Kind {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') (made as Handlers)[name as HandlerName] = value;
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : String(value));
  }
  made.append(...children.filter((child): child is Node | string => child !== undefined && child !== false));
  return made;
}
