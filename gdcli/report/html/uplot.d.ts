/** The vendored line charts, whose own types are not vendored. */
declare const uPlot: any;
