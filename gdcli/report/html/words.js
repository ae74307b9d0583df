"use strict";
// @ts-check
/** @typedef {typeof WORDS.en} Words the labels of one language */
/** The labels of the page, in each of its languages. */
const WORDS = {
  en: {
    sections: "Sections", curves: "Curves", summary: "Summary", table: "Steps", spec: "Spec", files: "Files",
    machine: "Environment", record: "Record", results: "Results", stepThrough: "Step through", best: "The best run",
    filesMachine: "Files, Environment", summaryOf: "Summary: {name}",
    loss: "Loss", trainingLoss: "training loss", trainingMean: "training loss, mean of the epoch",
    validationLoss: "validation loss", average: "moving average", window: "Moving average over", stepsUnit: "steps",
    gradients: "Gradient norms by layer", gradient: "all", rate: "Learning rate", metrics: "Metrics",
    log: "logarithmic", step: "Step", epoch: "Epoch", previous: "Previous rows", next: "Next rows", rows: "Rows",
    of: "of", overridden: "overridden", before: "in spec.yaml", problems: "Damaged files", none: "nothing recorded",
    oldBrowser: "This browser is too old to unpack the steps: one of 2023 or later can.",
    noneYet: "Nothing is recorded yet. Runs that are trained together, and those that tune, show when they have ended.",
    thinned: "Of {total} rows {kept} are kept: in each stretch those with the least and the largest value of each " +
      "curve. Their numbers are the record's; the others are left out.",
    spread: "While it trains, {kept} rows evenly spread over {total} steps; gdcli report has the extremes of all.",
    live: "Live: the command is running, and the page is drawn anew as its record grows.", hold: "Hold the page",
    liveEnded: "The command has ended; this page stays as it is.",
    liveFull: "Not live: too many pages follow this command.",
    liveLost: "The command has ended or cannot be reached; the page shows what came last.", training: "In training",
    averageKept: "The moving average is over the rows that are kept.",
    layersLeft: "The first {shown} of {layers} layers.",
    hint: "Drag over a chart to zoom, double-click for all. ← and → move the step.",
    chart: "Chart over the steps: {names}", toggle: "show or hide the curve", several: "Side by side", key: "key",
    many: "All runs", sort: "sort by this column", shown: "shown", allOn: "show all rows", allOff: "hide all rows",
    point: "point", rowsTable: "Table", runsTable: "Every run", curve: "Curve", overSteps: "{name} over steps",
    overEpochs: "{name} over epochs",
    band: "Mean over up to {runs} runs of each row; the band is the 95 % interval of the mean.",
    bandCut: "Bands that are much wider than the curves are cut at the chart's edge.",
    thinnedCurve: "Of {total} points of a curve {kept} are kept: in each stretch the least and the largest.",
    fewCurves: "The curves of the best {kept} of {total} rows.",
    noCurves: "No run has its curve in a folder of its own.",
    half: "± is half the 95 % interval of the mean over the seeds.",
    halfFolds: "± is half the 95 % interval of the mean over the folds, which share rows, so that it is rather too " +
      "short.",
    fewRows: "{kept} of {total} are kept: the best, and others spread evenly over the rest.",
    tuning: "Learning rates that were tried: mean {name}", tuningHint: "The ring is the learning rate that was chosen.",
    tuningGone: "The ring is the learning rate that was chosen; {points} that diverged are left out.",
    parallel: "Parallel coordinates", by: "Last axis",
    parallelHint: "The best fifth of the runs has another colour and a wider line; point at a line for its run.",
    parallelOf: "Parallel coordinates of {runs} runs: {names}",
    withoutValue: "{runs} runs without a value are left out.",
    logAxis: "{name} (log)", scatter: "Any setting against any result", across: "across", up: "up",
    scatterHint: "The best fifth of the runs has another colour and larger points; point at one for its run.",
    scatterOf: "Scatter of {runs} runs: {y} over {x}", differs: "{part}: what differs", same: "the same",
    firstDiffers: "{a} and {b}: the loss differs first at {where} {number}: {one}, {other}",
    /** @type {Object<string, string>} names of a record's parts, where the page is not in English */
    names: {},
    /** @type {Object<string, string>} how a run ended */
    values: {},
    stepping: {
      title: "Step through", first: "First step", back: "One step back", play: "Play", pause: "Pause",
      forward: "One step forward", last: "Last step", slider: "Step", of: "of", draw: "Edges show",
      weight: "weight", gradient: "gradient", value: "value", output: "output", net: "The model at this step",
      choose: "Choose an edge or a neuron to see its derivation.", derivation: "Derivation", entry: "parameter",
      table: "Weights and gradients of this step", from: "from", to: "to", none: "no derivation at this step",
      positive: "positive", negative: "negative", wider: "The wider an edge, the larger its number.", bias: "bias",
      keys: "Keys: ← and → one step, Home and End; space plays; in the drawing ↑ and ↓ go on to the next part, Enter " +
        "chooses it.",
      slope: "derivative", surface: "Loss over {x} and {y}",
      surfaceHint: "Dark is low; a tenth of the picture lies between two lines. The ring is this step, the square " +
        "the first, the heavy line the way.",
    },
  },
  zh: {
    sections: "目录", curves: "曲线", summary: "概要", table: "训练步", spec: "配置", files: "文件",
    machine: "环境", record: "记录", results: "结果", stepThrough: "逐步查看", best: "最好的一次运行",
    filesMachine: "文件和环境", summaryOf: "概要：{name}",
    loss: "损失", trainingLoss: "训练损失", trainingMean: "训练损失（每轮平均）",
    validationLoss: "验证损失", average: "滑动平均", window: "滑动平均窗口", stepsUnit: "步",
    gradients: "各层梯度范数", gradient: "全部", rate: "学习率", metrics: "指标",
    log: "对数坐标", step: "步", epoch: "轮", previous: "前面的行", next: "后面的行", rows: "行",
    of: "/", overridden: "已覆盖", before: "spec.yaml 中为", problems: "损坏的文件", none: "没有记录",
    oldBrowser: "浏览器版本过旧，无法解压逐步数据；请使用 2023 年或更新的浏览器。",
    noneYet: "尚无记录。一起训练的运行以及调参的运行，结束后才显示。",
    thinned: "共 {total} 行，保留 {kept} 行：每一段保留每条曲线的最小值和最大值所在的行。保留的数字与记录一致，其余省略。",
    spread: "训练期间只显示均匀分布在 {total} 步中的 {kept} 行；gdcli report 保留全部步的最小值和最大值。",
    live: "实时：命令正在运行，页面随记录更新。", hold: "暂停更新",
    liveEnded: "命令已结束；页面保持现状。", liveFull: "未实时更新：打开的页面过多。",
    liveLost: "命令已结束或无法连接；页面显示最后收到的数据。", training: "正在训练",
    averageKept: "滑动平均只计算保留的行。",
    layersLeft: "只显示 {layers} 层中的前 {shown} 层。",
    hint: "在图上拖动可放大，双击还原；← 和 → 移动当前步。",
    chart: "随训练步变化的图：{names}", toggle: "显示或隐藏曲线", several: "并排比较", key: "键",
    many: "全部运行", sort: "按此列排序", shown: "显示", allOn: "显示所有行", allOff: "隐藏所有行",
    point: "取值", rowsTable: "汇总表", runsTable: "每次运行", curve: "曲线", overSteps: "{name}（按步）",
    overEpochs: "{name}（按轮）",
    band: "每行最多 {runs} 次运行的平均值；色带是平均值的 95 % 置信区间。",
    bandCut: "比曲线宽得多的色带在图的边缘被截断。",
    thinnedCurve: "曲线共 {total} 个点，保留 {kept} 个：每一段保留最小值和最大值。",
    fewCurves: "只画出 {total} 行中最好的 {kept} 行的曲线。",
    noCurves: "没有运行在自己的文件夹中保存曲线。",
    half: "± 是对各随机种子取平均的 95 % 置信区间的一半。",
    halfFolds: "± 是对各折取平均的 95 % 置信区间的一半；各折共用数据，因此区间偏短。",
    fewRows: "共 {total} 个，保留 {kept} 个：最好的，以及均匀抽取的其余部分。",
    tuning: "尝试过的学习率：平均 {name}", tuningHint: "圆环是选中的学习率。",
    tuningGone: "圆环是选中的学习率；省略了 {points} 个发散的学习率。",
    parallel: "平行坐标", by: "最后一条轴",
    parallelHint: "最好的五分之一用另一种颜色和较粗的线；指向一条线可查看该运行。",
    parallelOf: "{runs} 次运行的平行坐标：{names}", withoutValue: "省略了 {runs} 次没有数值的运行。",
    logAxis: "{name}（对数）", scatter: "任意设置与任意结果", across: "横轴", up: "纵轴",
    scatterHint: "最好的五分之一用另一种颜色和较大的点；指向一个点可查看该运行。",
    scatterOf: "{runs} 次运行的散点图：{y} 对 {x}", differs: "{part}：不同之处", same: "相同",
    firstDiffers: "{a} 与 {b}：损失首次不同于 {where} {number}：{one}，{other}",
    /** @type {Object<string, string>} */
    names: {
      status: "状态", description: "说明", tags: "标签", "of Python": "Python 对象", started: "开始时间", took: "用时",
      command: "命令", "final loss": "最终损失", "best loss": "最小损失", "last loss": "最后损失",
      "best step": "最小损失所在步",
      "best epoch": "最好的轮", "validation loss": "验证损失", "test loss": "测试损失", steps: "步数", epochs: "轮数",
      threads: "线程数", device: "设备", "cpu capability": "CPU 指令集", platform: "平台", step: "步", epoch: "轮",
    },
    /** @type {Object<string, string>} */
    values: {
      finished: "完成", stopped: "提前停止", diverged: "发散", interrupted: "中断", failed: "失败", running: "运行中",
    },
    stepping: {
      title: "逐步查看", first: "第一步", back: "后退一步", play: "播放", pause: "暂停",
      forward: "前进一步", last: "最后一步", slider: "步", of: "/", draw: "连线表示",
      weight: "权重", gradient: "梯度", value: "值", output: "输出", net: "该步的模型",
      choose: "选择一条连线或一个神经元，查看其推导。", derivation: "推导", entry: "参数",
      table: "该步的权重和梯度", from: "从", to: "到", none: "该步没有推导",
      positive: "正", negative: "负", wider: "连线越粗，数值越大。", bias: "偏置",
      keys: "按键：← 和 → 移动一步，Home 和 End 到首尾，空格播放；在图中 ↑ 和 ↓ 换到下一个部分，回车选中。",
      slope: "导数", surface: "{x} 和 {y} 上的损失",
      surfaceHint: "颜色越深，损失越低；相邻两条等高线之间是图面积的十分之一。圆环是当前步，方块是第一步，粗线是走过的路径。",
    },
  },
};

/**
 * Return a name of the record's, or a status, in the page's language where that has a word for it.
 * @param {string} text
 * @param {Object<string, string>} known
 */
function translated(text, known) {
  return Object.hasOwn(known, text) ? known[text] : text;
}

/**
 * Return a text with the statuses in it in the page's language: "finished: all 100 epochs", "2 finished, 1 failed".
 * @param {string} text
 * @param {Object<string, string>} known
 */
function withStatus(text, known) {
  return text.replace(/(^|\d )([a-z]+)(?=$|[:,])/g, (_, before, word) => before + translated(word, known));
}
