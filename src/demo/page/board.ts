/**
 * The task board. It never changes by itself: moving a card runs SQL, and the card moves when the
 * commit arrives.
 */
import { byId, element, svgElement } from './element.ts';
import { appear, glide, glow, melt } from './motion.ts';
import { literal, type Task, type TaskStatus } from './rows.ts';

const COLUMNS: readonly { readonly status: TaskStatus; readonly title: string }[] = [
  { status: 'todo', title: 'To do' },
  { status: 'doing', title: 'Doing' },
  { status: 'done', title: 'Done' },
];

interface Column {
  readonly list: HTMLElement;
  readonly count: HTMLElement;
}

export class Board {
  readonly #run: (sql: string) => void;
  readonly #board = byId('board');
  readonly #columns = new Map<TaskStatus, Column>();
  readonly #cards = new Map<number, HTMLElement>();
  #shown = new Map<number, Task>();

  constructor(run: (sql: string) => void) {
    this.#run = run;
    for (const { status, title } of COLUMNS) this.#addColumn(status, title);
  }

  /** Shows why there is no board to see, and a way back; with undefined, shows the board. */
  close(reason: string | undefined, rejoin: () => void = () => {}): void {
    this.#board.querySelector('.closed')?.remove();
    this.#board.toggleAttribute('data-closed', reason !== undefined);
    if (reason === undefined) return;
    const again = element('button', { type: 'button', class: 'quiet' }, 'Join again');
    again.addEventListener('click', rejoin);
    this.#board.append(element('div', { class: 'closed', role: 'status' }, element('p', {}, reason), again));
  }

  show(tasks: readonly Task[]): void {
    const now = new Map(tasks.map((task) => [task.id, task]));
    const first = this.#shown.size === 0;
    const focused = document.activeElement as HTMLElement | null;
    const settle = glide(this.#cards.values());

    for (const id of this.#shown.keys()) {
      if (now.has(id)) continue;
      melt(this.#cards.get(id) as HTMLElement);
      this.#cards.delete(id);
    }
    for (const { status } of COLUMNS) {
      const column = this.#columns.get(status) as Column;
      const rows = tasks
        .filter((task) => task.status === status)
        .sort((a, b) => a.position - b.position || a.id - b.id);
      column.count.textContent = String(rows.length);
      for (const [index, task] of rows.entries()) {
        const card = this.#card(task);
        if (column.list.children[index] !== card) column.list.insertBefore(card, column.list.children[index] ?? null);
      }
    }
    settle();
    for (const [id, task] of now) {
      const before = this.#shown.get(id);
      if (before === undefined && !first) appear(this.#cards.get(id) as HTMLElement);
      if (before !== task && !first) glow(this.#cards.get(id) as HTMLElement);
    }
    // A card that changes its column loses the focus.
    if (focused?.isConnected && document.activeElement !== focused && this.#board.contains(focused)) focused.focus();
    this.#shown = now;
  }

  #addColumn(status: TaskStatus, title: string): void {
    const count = element('span', { class: 'count' }, '0');
    const list = element('ol', { class: 'cards', 'aria-label': title });
    const column = element(
      'div',
      { class: 'column', 'data-status': status },
      element('h3', {}, title, ' ', count),
      list,
    );
    if (status === 'todo') column.append(this.#newTaskForm());
    column.addEventListener('dragover', (event) => {
      event.preventDefault();
      column.classList.add('target');
    });
    column.addEventListener('dragleave', (event) => {
      if (!column.contains(event.relatedTarget as Node | null)) column.classList.remove('target');
    });
    column.addEventListener('drop', (event) => {
      event.preventDefault();
      column.classList.remove('target');
      const task = this.#shown.get(Number(event.dataTransfer?.getData('text/plain')));
      if (task !== undefined) this.#drop(task, status, event.clientY);
    });
    this.#columns.set(status, { list, count });
    this.#board.append(column);
  }

  #newTaskForm(): HTMLElement {
    const input = element('input', {
      type: 'text',
      maxlength: '120',
      placeholder: 'New task',
      'aria-label': 'New task',
      autocomplete: 'off',
      enterkeyhint: 'done',
    });
    const form = element(
      'form',
      { class: 'new-task' },
      input,
      element('button', { type: 'submit', 'aria-label': 'Add the task' }, '+'),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const title = input.value.trim();
      if (title === '') return;
      input.value = '';
      this.#run(`insert into tasks (title, assignee) values (${literal(title)}, 'You');`);
    });
    return form;
  }

  /** Returns the task's card, created or updated. */
  #card(task: Task): HTMLElement {
    let card = this.#cards.get(task.id);
    if (this.#shown.get(task.id) === task && card !== undefined) return card;
    if (card === undefined) {
      card = this.#newCard(task.id);
      this.#cards.set(task.id, card);
    }
    card.dataset['status'] = task.status;
    const [title, who, back, forward] = ['.title', '.who', '.back', '.forward'].map((part) =>
      card.querySelector(part),
    ) as [HTMLElement, HTMLElement, HTMLButtonElement, HTMLButtonElement];
    title.textContent = task.title;
    who.textContent = task.assignee?.slice(0, 2) ?? '';
    who.title = task.assignee ?? 'nobody';
    who.dataset['who'] = String([...(task.assignee ?? '')].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 5);
    who.hidden = task.assignee === null;
    const at = COLUMNS.findIndex(({ status }) => status === task.status);
    back.disabled = at === 0;
    back.setAttribute('aria-label', `Move “${task.title}” to ${COLUMNS[at - 1]?.title ?? 'nowhere'}`);
    forward.setAttribute(
      'aria-label',
      at === 2 ? `Archive “${task.title}”` : `Move “${task.title}” to ${COLUMNS[at + 1]?.title}`,
    );
    forward.querySelector('path')?.setAttribute('d', at === 2 ? 'm4 8.5 3 3 5-7' : 'm6 3 5 5-5 5');
    return card;
  }

  #newCard(id: number): HTMLElement {
    const card = element(
      'li',
      { class: 'card', draggable: 'true', 'data-task': String(id) },
      element('span', { class: 'title' }),
      element(
        'span',
        { class: 'foot' },
        element('span', { class: 'id' }, `#${id}`),
        element('span', { class: 'who' }),
        arrow('back', 'm10 3-5 5 5 5', () => this.#step(id, -1)),
        arrow('forward', 'm6 3 5 5-5 5', () => this.#step(id, 1)),
      ),
    );
    card.addEventListener('dragstart', (event) => {
      event.dataTransfer?.setData('text/plain', String(id));
      card.classList.add('dragged');
    });
    card.addEventListener('dragend', () => card.classList.remove('dragged'));
    return card;
  }

  #step(id: number, by: 1 | -1): void {
    const task = this.#shown.get(id);
    if (task === undefined) return;
    const next = COLUMNS[COLUMNS.findIndex(({ status }) => status === task.status) + by];
    if (next !== undefined)
      this.#run(`update tasks set status = '${next.status}', position = nextval('task_order') where id = ${id};`);
    else if (by === 1) this.#run(`update tasks set archived_at = now() where id = ${id};`);
  }

  /** Puts the card between those that it was dropped between. */
  #drop(task: Task, status: TaskStatus, y: number): void {
    const { list } = this.#columns.get(status) as Column;
    const others = [...list.children].filter((card) => card !== this.#cards.get(task.id)) as HTMLElement[];
    const below = others.findIndex((card) => {
      const { top, height } = card.getBoundingClientRect();
      return y < top + height / 2;
    });
    const positionOf = (card: HTMLElement | undefined) => this.#shown.get(Number(card?.dataset['task']))?.position;
    const after = positionOf(others[(below < 0 ? others.length : below) - 1]);
    const before = below < 0 ? undefined : positionOf(others[below]);
    const position =
      after === undefined
        ? before === undefined
          ? task.position
          : before - 1
        : before === undefined
          ? after + 1
          : (after + before) / 2;
    if (status === task.status && position === task.position) return;
    this.#run(`update tasks set status = '${status}', position = ${position} where id = ${task.id};`);
  }
}

function arrow(name: string, path: string, press: () => void): HTMLElement {
  const icon = svgElement('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' });
  icon.append(svgElement('path', { d: path }));
  const button = element('button', { type: 'button', class: name });
  button.append(icon);
  button.addEventListener('click', press);
  return button;
}
