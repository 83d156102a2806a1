"""The commands of lpdif and their options, as tests want them."""

COMMANDS = ("reconstruct", "preprocess", "fit", "cluster", "evaluate", "compare", "inspect", "view", "doctor", "config", "demo")
ALWAYS = {"--json", "--quiet", "--verbose", "--help"}
RUN = {"--workspace", "--seed", "--threads", "--config", "--overwrite", "--dry-run"}
OPTIONS = {  # exactly these
    "reconstruct": RUN
    | {"--device", "--output", "--resolution", "--region-size", "--max-distance"}
    | {"--watertight", "--refine", "--model", "--sensor", "--faces", "--report", "--cluster", "--shard"}
    | {"--keep", "--units", "--scale", "--texture", "--up", "--adaptive", "--trajectory", "--classes", "--max-memory"},
    "preprocess": RUN,
    "fit": RUN | {"--device", "--patterns", "--processes", "--start", "--resume", "--report", "--samples"},
    "cluster": RUN | {"--device", "--patterns", "--sweep", "--samples"},
    "evaluate": {"--seed", "--config"},
    "compare": {"--device", "--seed", "--threads", "--config", "--on", "--points", "--noise", "--held-out"},
    "inspect": {"--threads", "--config"},
    "view": {"--output", "--open", "--up", "--threads", "--config", "--overwrite", "--dry-run"},
    "doctor": {"--workspace", "--device", "--config"},
    "config": {"--workspace", "--device", "--seed", "--threads", "--config"},
    "demo": {"--output", "--seed", "--config", "--overwrite", "--dry-run"},
}
