"use strict";
// @ts-check
/** The labels of the page, in each of its languages. */
const WORDS = {
  en: {
    sections: "Sections", curves: "Curves", summary: "Summary", table: "Steps", spec: "Spec", files: "Files",
    machine: "Environment", record: "Record", results: "Results", stepThrough: "Step through", best: "The best run",
    loss: "Loss", trainingLoss: "training loss", trainingMean: "training loss, mean of the epoch",
    validationLoss: "validation loss", average: "moving average", window: "Moving average over", stepsUnit: "steps",
    gradients: "Gradient norms by layer", gradient: "all", rate: "Learning rate", metrics: "Metrics", log: "logarithmic",
    step: "Step", previous: "Previous rows", next: "Next rows", rows: "Rows", of: "of",
    overridden: "overridden", before: "in spec.yaml", problems: "Damaged files", none: "nothing recorded",
    thinned: "Of {total} rows {kept} are kept: in each stretch those with the least and the largest value of each curve. Their numbers are the record's; the others are left out.",
    averageKept: "The moving average is over the rows that are kept.",
    layersLeft: "The first {shown} of {layers} layers.", hint: "Drag over a chart to zoom, double-click for all. ← and → move the step.",
    chart: "Chart over the steps: {names}", toggle: "show or hide the curve", several: "Side by side", key: "key", value: "value",
    file: "file", size: "size", many: "All runs",
  },
  zh: {
    sections: "目录", curves: "曲线", summary: "概要", table: "训练步", spec: "配置", files: "文件",
    machine: "环境", record: "记录", results: "结果", stepThrough: "逐步查看", best: "最好的一次运行",
    loss: "损失", trainingLoss: "训练损失", trainingMean: "训练损失（每轮平均）",
    validationLoss: "验证损失", average: "滑动平均", window: "滑动平均窗口", stepsUnit: "步",
    gradients: "各层梯度范数", gradient: "全部", rate: "学习率", metrics: "指标", log: "对数坐标",
    step: "步", previous: "前面的行", next: "后面的行", rows: "行", of: "/",
    overridden: "已覆盖", before: "spec.yaml 中为", problems: "损坏的文件", none: "没有记录",
    thinned: "共 {total} 行，保留 {kept} 行：每一段保留每条曲线的最小值和最大值所在的行。保留的数字与记录一致，其余省略。",
    averageKept: "滑动平均只计算保留的行。",
    layersLeft: "只显示 {layers} 层中的前 {shown} 层。", hint: "在图上拖动可放大，双击还原；← 和 → 移动当前步。",
    chart: "随训练步变化的图：{names}", toggle: "显示或隐藏曲线", several: "并排比较", key: "键", value: "值",
    file: "文件", size: "大小", many: "全部运行",
  },
};
