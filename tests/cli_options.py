"""The commands of lpdif and their options, as tests want them."""

COMMANDS = ("reconstruct", "preprocess", "fit", "cluster", "evaluate", "inspect", "doctor", "config", "demo")
ALWAYS = {"--json", "--quiet", "--verbose", "--help"}
RUN = {"--workspace", "--seed", "--threads", "--config", "--overwrite", "--dry-run"}
OPTIONS = {  # exactly these
    "reconstruct": RUN
    | {"--device", "--output", "--resolution", "--region-size", "--max-distance"}
    | {"--watertight", "--refine", "--model", "--sensor", "--faces"}
    | {"--keep", "--units", "--scale", "--texture"},
    "preprocess": RUN,
    "fit": RUN | {"--device", "--patterns", "--resume"},
    "cluster": RUN | {"--device", "--patterns", "--sweep"},
    "evaluate": {"--seed", "--config"},
    "inspect": {"--threads", "--config"},
    "doctor": {"--workspace", "--device", "--config"},
    "config": {"--workspace", "--device", "--seed", "--threads", "--config"},
    "demo": {"--output", "--seed", "--config", "--overwrite", "--dry-run"},
}
