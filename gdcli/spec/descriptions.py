"""What each key of a spec is, in a line, for an editor's tooltip; a name of two meanings stands with its section."""

from __future__ import annotations

DESCRIPTIONS = {
    "name": "Which one; gdcli catalog lists them.",
    "type": "Which model; gdcli catalog model lists them.",
    "kind": "Which generator; gdcli catalog data lists them.",
    "model": "What is trained.",
    "epochs": "Passes over the data.",
    # data
    "n": "Rows.",
    "classes": "Classes, as many rows of each as can be.",
    "generate.features": "Features of a row.",
    "spread": "Standard deviation of the rows round their class's centre.",
    "box": "Low and high end of each coordinate of the centres.",
    "weights": "Weight of each feature.",
    "generate.bias": "What the target is at x = 0.",
    "noise": "Standard deviation of the normal noise.",
    "generate.x": "Distribution of the features: {uniform: [low, high]} or {normal: [mean, deviation]}.",
    "coefficients": "Of 1, x, x², ....",
    "amplitude": "Largest value of the sine.",
    "frequency": "Radians per unit of x.",
    "phase": "Radians at x = 0.",
    "turns": "Turns of each arm.",
    "data.features": "Columns of the features; all but the target when absent.",
    "target": "Column of the target, or several.",
    "file": "A CSV or NPZ file, from the spec's folder on.",
    "header": "false: the first line of the CSV file is a row, columns are c1, c2, ....",
    "sha256": "Digest that the file must have.",
    "dataset": "A data set of scikit-learn; gdcli catalog dataset lists them.",
    "standardize": "Whether features get mean 0 and deviation 1, by the training rows.",
    "validation": "Share of the rows that is held out, drawn at random.",
    "data.seed": "Of the rows and of the split; the spec's when absent.",
    # model
    "in_features": "Features of a row; those of the data when absent.",
    "out_features": "Outputs; those of the data when absent.",
    "bias": "Whether a bias is added; shared: one for a whole layer.",
    "layers": "Numbers of neurons from input to output, or torch's layers in a row.",
    "layer": "A class of torch.nn; gdcli catalog layer lists them.",
    "activation": "After each hidden layer; gdcli catalog activation lists them.",
    "output_activation": "After the last layer.",
    "expression": "The function, in Python's words.",
    "start": "Start value of each variable.",
    "constants": "Value of each name that is no variable.",
    "normal": "Mean and standard deviation.",
    "uniform": "Low and high end.",
    # losses
    "beta": "β: the size of an error from which on the loss is linear.",
    "delta": "δ: the size of an error from which on the loss is linear.",
    # optimizers
    "lr": "Learning rate.",
    "momentum": "Share of the last step that is kept.",
    "dampening": "Share of the gradient that momentum leaves out.",
    "weight_decay": "Factor of the parameters that is added to their gradients, or in AdamW taken off them.",
    "nesterov": "Whether the gradient looks one step of momentum ahead.",
    "maximize": "Whether the loss is maximised.",
    "lr_decay": "Decay of the learning rate with the steps.",
    "initial_accumulator_value": "Sum of squares before the first step.",
    "eps": "Added to the denominator, so that it is not 0.",
    "alpha": "Smoothing of the squared gradients, in ASGD the power of the decay.",
    "centered": "Whether the squares are those of the deviation from the mean gradient.",
    "betas": "β₁ and β₂ of the averages of gradients and squares.",
    "amsgrad": "Whether the largest average of squares so far counts.",
    "decoupled_weight_decay": "Whether weight decay is taken off the parameters themselves.",
    "rho": "Smoothing of the squared gradients and steps.",
    "momentum_decay": "ψ: how fast momentum grows to β₁.",
    "etas": "Factors by which a step size shrinks and grows.",
    "step_sizes": "Least and largest step size.",
    "lambd": "λ: decay term.",
    "t0": "Steps before the average begins.",
    # schedulers
    "step_size": "Epochs between two changes.",
    "gamma": "Factor of each change.",
    "milestones": "Epochs at whose start the learning rate changes.",
    "factor": "Factor at first.",
    "total_iters": "Epochs after which the schedule is over.",
    "start_factor": "Factor at first.",
    "end_factor": "Factor at the end.",
    "power": "Of the polynomial.",
    "T_max": "Epochs from the highest to the lowest learning rate.",
    "eta_min": "Lowest learning rate.",
    "T_0": "Epochs before the first restart.",
    "T_mult": "Factor of the epochs from restart to restart.",
    # sections
    "mode": "full: all rows a step; stochastic: one; mini-batch: size.",
    "size": "Rows a step; alone it means mini-batch.",
    "shuffle": "Whether each epoch draws an order; true by default but for full.",
    "drop_last": "Whether an epoch's last, smaller batch is left out.",
    "batch": "How the rows of an epoch are cut into steps.",
    "stop.loss": "Once the whole set's loss is at it or below.",
    "gradient_norm": "Once the norm of the full gradient is at it or below.",
    "max_steps": "After so many steps.",
    "max_seconds": "After so many seconds.",
    "patience": "After so many epochs without a better validation loss, or training loss without validation rows.",
    "style": "How a run is printed; gdcli catalog style lists them.",
    "predict": "A number or row whose output is shown.",
    "gradients": "values, norms of each parameter, or none; auto: values of small models.",
    "every": "Every so many steps, the first and the last too.",
    "every_seconds": "Seconds between two checkpoints.",
    "parameters": "A grid for each parameter of the model or key of the spec.",
    "optimizers": "The rows: a name and the settings of each.",
    "batches": "The rows: batch modes, or batches in full.",
    "seeds": "Runs of each row, which differ in weights and batch order alone.",
    "closed_form": "Whether the least-squares solution is one more row.",
    "compare.target": "A loss; the table tells after how many steps each row had reached it at the end of an epoch.",
    "tune": "Learning rates that are tried for each optimizer.",
    "tune_range": "The lowest and the highest of them.",
}  # fmt: skip


def described(schema: object, section: str = "") -> None:
    """Give each property of a JSON Schema that says nothing of itself its description, in place."""
    if isinstance(schema, list):
        for each in schema:
            described(each, section)
    if not isinstance(schema, dict):
        return
    for name, inner in schema.get("properties", {}).items() if isinstance(schema.get("properties"), dict) else ():
        if isinstance(inner, dict) and "description" not in inner and "$ref" not in inner:
            text = DESCRIPTIONS.get(f"{section}.{name}", DESCRIPTIONS.get(name, "A setting; gdcli catalog tells more."))
            inner["description"] = text
    for key, value in schema.items():
        for name, inner in value.items() if key == "$defs" else ((section, value),):
            described(inner, name.partition(".")[0])
