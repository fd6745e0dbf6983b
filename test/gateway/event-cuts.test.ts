/**
 * A client of a real TLS stream whose connection ends after any byte of an event, or of its id. By
 * its ids it misses nothing, whether it counts an id with its event or at once.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { ask } from '../support/event-client.ts';
import { type Counting, EventParser } from '../support/event-parser.ts';
import { type Fixture, startGateway } from './fixture.ts';

let fixture: Fixture;
afterEach(() => fixture.stop());

const EVENT = 'event: message\n';
const ID_AND_BLANK_LINE = /\nid: \S+\n\n/;

/** A client that is cut again and again, and what it has received. */
class CutClient {
  readonly received: number[] = [];
  /** The first event that the last connection brought, with its id. */
  event = '';
  readonly #query: string;
  readonly #channels: number;
  readonly #counting: Counting;
  #id = '';

  constructor(query: string, counting: Counting) {
    this.#query = query;
    this.#channels = query.split('channel=').length - 1;
    this.#counting = counting;
  }

  /** Receives no event, until it has an id. */
  async start(): Promise<void> {
    await this.#connect((text) => {
      const parser = this.#parser();
      parser.read(text);
      return parser.lastEventId === '' ? undefined : text.length;
    });
  }

  /**
   * Receives the stream up to so many bytes of its first event, and loses the connection. A second
   * event must follow. `onResumed`: called when the stream has resumed.
   */
  async cutAfter(bytes: number, onResumed: () => void): Promise<void> {
    let isResumed = false;
    await this.#connect((text) => {
      if (!isResumed && text.split('"recovered":true').length > this.#channels) {
        isResumed = true;
        onResumed();
      }
      const start = text.indexOf(EVENT);
      const end = text.indexOf(EVENT, start + 1);
      if (start === -1 || end === -1) return undefined;
      this.event = text.slice(start, end);
      return start + bytes;
    });
  }

  /** `cutAt`: returns how much of the text the client receives, once that is known. */
  async #connect(cutAt: (text: string) => number | undefined): Promise<void> {
    const response = await ask(`https://127.0.0.1:${fixture.port}/v1/events?${this.#query}`, {
      ca: fixture.certificate.cert,
      headers: this.#id === '' ? {} : { 'last-event-id': this.#id },
    });
    response.on('error', () => undefined);
    response.setEncoding('latin1');
    let text = '';
    let length: number | undefined;
    for await (const chunk of response) {
      text += chunk as string;
      length = cutAt(text);
      if (length !== undefined) break;
    }
    const parser = this.#parser();
    parser.read(text.slice(0, length));
    this.#id = parser.lastEventId;
  }

  #parser(): EventParser {
    return new EventParser(this.#counting, this.#id, ({ type, data = '' }) => {
      if (type === 'message' && data !== '') this.received.push((JSON.parse(data) as { data: number }).data);
    });
  }
}

describe.each(['channel=room:1', 'channel=room:1&channel=room:2'])('%s', (channels) => {
  describe.each(['as they happen', 'from the journal'])('events %s', (when) => {
    /** Cuts the connection at each byte of an event and of its id. */
    async function cutEverywhere(client: CutClient): Promise<void> {
      fixture = await startGateway();
      let published = 0;
      const publish = () => {
        while (published < Math.max(0, ...client.received) + 3) fixture.publish('room:1', ++published);
      };
      await client.start();
      for (let bytes = 0; bytes <= Math.max(1, client.event.length); bytes++) {
        if (when === 'from the journal') publish();
        await client.cutAfter(bytes, publish);
      }
      // What it has missed would come now.
      await client.cutAfter(client.event.length, publish);
    }

    test('arrive exactly once if the client counts an id with its event', async () => {
      const client = new CutClient(channels, 'with its event');
      await cutEverywhere(client);
      expect(client.received.length).toBeGreaterThan(1);
      expect(client.received).toEqual(client.received.map((_, index) => index + 1));
    });

    test('are not lost if the client counts an id at once, except between the id and the blank line', async () => {
      const client = new CutClient(channels, 'at once');
      await cutEverywhere(client);
      expect(client.event).toMatch(ID_AND_BLANK_LINE);
      expect(lost(client.received)).toEqual([1]);
    });

    test('are not lost if the client counts an id at once, with ids=after', async () => {
      const client = new CutClient(`${channels}&ids=after`, 'at once');
      await cutEverywhere(client);
      expect(client.event).not.toMatch(ID_AND_BLANK_LINE);
      expect(lost(client.received)).toEqual([]);
      expect(client.received.length).toBeGreaterThan(new Set(client.received).size);
    });
  });
});

/** The numbers between the received ones that were not received. */
function lost(received: readonly number[]): number[] {
  const held = new Set(received);
  return Array.from({ length: Math.max(...received) }, (_, index) => index + 1).filter((n) => !held.has(n));
}
