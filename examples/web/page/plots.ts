/**
 * The plots, in the colours of the page.
 *
 * @module
 */

import uPlot from "uplot";

/** One line of a plot. */
export interface Line {
  /** What it is. */
  readonly label: string;
  /** The name of its colour in the style sheet. */
  readonly colour: string;
  /** Whether the space below it is filled. */
  readonly filled?: boolean;
  /** Whether it is drawn as bars. */
  readonly bars?: boolean;
}

/** What a plot shows. */
export interface PlotOptions {
  /** The lines. */
  readonly lines: readonly Line[];
  /** What stands under the axis of x, after its numbers. */
  readonly unit: string;
  /** What y reaches at least. */
  readonly range: readonly [low: number, high: number];
}

/** A plot that fills its element, and is drawn anew when colours or size change. */
export class Plot {
  readonly #element: HTMLElement;
  readonly #options: PlotOptions;
  #plot: uPlot;
  #data: uPlot.AlignedData;

  /**
   * @param element Where it is shown.
   * @param options What it shows.
   */
  constructor(element: HTMLElement, options: PlotOptions) {
    this.#element = element;
    this.#options = options;
    this.#data = [[], ...options.lines.map(() => [])];
    this.#plot = this.#make();
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(element);
  }

  /**
   * Shows other numbers.
   *
   * @param data x, then y of each line.
   */
  show(data: uPlot.AlignedData): void {
    this.#data = data;
    this.#plot.setData(data);
  }

  /** The colours of the page have changed. */
  recolour(): void {
    this.#plot.destroy();
    this.#plot = this.#make();
  }

  #size(): { width: number; height: number } {
    const { clientWidth: width, clientHeight: height } = this.#element;
    return { width, height };
  }

  #make(): uPlot {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const { lines, unit, range } = this.#options;
    const axis: uPlot.Axis = {
      stroke: colour("muted"),
      grid: { stroke: colour("grid"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
      gap: 4,
    };
    return new uPlot(
      {
        ...this.#size(),
        padding: [8, 18, 0, 0],
        cursor: { drag: { x: false, y: false }, points: { show: false } },
        legend: { show: false },
        scales: {
          x: { time: false },
          y: {
            range: (_plot, low, high) => [
              Math.min(range[0], low ?? range[0]),
              Math.max(range[1], (high ?? range[1]) * 1.08),
            ],
          },
        },
        axes: [
          {
            ...axis,
            size: 30,
            values: (_plot, splits) => splits.map((value) => `${+value.toFixed(2)} ${unit}`),
          },
          { ...axis, size: 40 },
        ],
        series: [
          {},
          ...lines.map((line): uPlot.Series => ({
            label: line.label,
            stroke: colour(line.colour),
            width: line.bars ? 0 : 2,
            fill: line.filled || line.bars
              ? `${colour(line.colour)}${line.bars ? "" : "22"}`
              : undefined,
            points: { show: false },
            paths: line.bars ? uPlot.paths.bars?.({ size: [0.7, 40] }) : undefined,
          })),
        ],
      },
      this.#data,
      this.#element,
    );
  }
}
