#!/usr/bin/env bash
# prom-client 15.1.3
#
# Guess: two sets of label values that differ are two series, whatever the values are.
#
# Seen: they are one if their names and values, written one after the other with colons and commas, give one text:
# {topic: 'a,type:b', type: 'c'} and {topic: 'a', type: 'b,type:c'} do. The second one's counts are added to the first's
# series, and its own never appears. It takes a value with a comma, the next label's name and a colon in it, so labels
# that carry texts of others (topics, selectors, queries) are exposed to it. A way around: escape commas in such values.
set -euo pipefail
. "$(dirname "$0")/support/folder.sh"
install_packages prom-client@15.1.3
cat >look.mjs <<'JS'
import { Counter, Registry } from 'prom-client';

const registry = new Registry();
const counter = new Counter({ name: 'events', help: 'Events.', labelNames: ['topic', 'type'], registers: [registry] });
counter.inc({ topic: 'a,type:b', type: 'c' }, 1);
counter.inc({ topic: 'a', type: 'b,type:c' }, 10);
counter.inc({ topic: 'a', type: 'c' }, 100);
const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('events'));
for (const line of lines) console.log(line);
const EXPECTED = ['events{topic="a,type:b",type="c"} 11', 'events{topic="a",type="c"} 100'];
process.exit(JSON.stringify(lines) === JSON.stringify(EXPECTED) ? 0 : 1);
JS
node look.mjs
