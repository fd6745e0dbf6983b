/** Snow in the page's head: each flake is an event that has just arrived. */
import { byId } from './element.ts';
import { wantsMotion } from './motion.ts';

interface Flake {
  x: number;
  y: number;
  readonly radius: number;
  /** Pixels a second. */
  readonly speed: number;
  readonly sway: number;
  readonly phase: number;
}

const FLAKES_MAX = 160;

export class Snowfall {
  readonly #canvas = byId<HTMLCanvasElement>('snowfall');
  readonly #flakes: Flake[] = [];
  #drawnAt: number | undefined;

  fall(events: number): void {
    if (!wantsMotion() || document.hidden) return;
    const { clientWidth } = this.#canvas;
    for (let i = 0; i < Math.min(events, 24) && this.#flakes.length < FLAKES_MAX; i++) {
      this.#flakes.push({
        x: Math.random() * clientWidth,
        y: -6 - Math.random() * 20 * i ** 0.5,
        radius: 1.2 + Math.random() * 2.2,
        speed: 22 + Math.random() * 26,
        sway: 4 + Math.random() * 10,
        phase: Math.random() * 6.28,
      });
    }
    if (this.#drawnAt === undefined) {
      this.#drawnAt = performance.now();
      requestAnimationFrame((now) => this.#draw(now));
    }
  }

  #draw(now: number): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = devicePixelRatio;
    if (this.#canvas.width !== Math.round(clientWidth * scale)) this.#canvas.width = Math.round(clientWidth * scale);
    if (this.#canvas.height !== Math.round(clientHeight * scale))
      this.#canvas.height = Math.round(clientHeight * scale);
    const seconds = Math.min(0.1, (now - (this.#drawnAt ?? now)) / 1_000);
    const context = this.#canvas.getContext('2d');
    if (context === null) return;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, clientWidth, clientHeight);
    context.fillStyle = getComputedStyle(this.#canvas).color;
    for (const flake of this.#flakes) {
      flake.y += flake.speed * seconds;
      // Gone before it reaches the ground.
      context.globalAlpha = Math.max(0, Math.min(1, 1.15 - flake.y / clientHeight));
      context.beginPath();
      context.arc(flake.x + Math.sin(flake.phase + flake.y / 18) * flake.sway, flake.y, flake.radius, 0, 6.3);
      context.fill();
    }
    for (let i = this.#flakes.length - 1; i >= 0; i--) {
      if ((this.#flakes[i] as Flake).y > clientHeight * 1.15) this.#flakes.splice(i, 1);
    }
    this.#drawnAt = this.#flakes.length === 0 ? undefined : now;
    if (this.#drawnAt !== undefined) requestAnimationFrame((next) => this.#draw(next));
  }
}
