# Runs the notebooks of a matrix. The rules come from jomed.plan, the same that `python -m jomed
# plan` prints; what is done needs no rule. `python -m jomed matrix` calls this file, and so can
# you, for a cluster: snakemake --executor slurm --jobs 20 --config profile=paper
import shlex
import sys

from jomed.plan import tasks
from jomed.runner import end_with_matrix

end_with_matrix()

PROFILE = config.get("profile", "phantom")
ONLY = [part for part in str(config.get("only", "")).split(",") if part]
MISSING = [task for task in tasks(PROFILE, config.get("matrix"), ONLY) if not task.done]


rule all:
    input:
        [str(task.target) for task in MISSING],


for task in MISSING:

    rule:
        name:
            task.target.stem
        input:
            [str(need) for need in task.needs],
        output:
            str(task.target),
        priority: task.priority
        params:
            command=f"{shlex.quote(sys.executable)} -m jomed {task.arguments}",
        shell:
            "{params.command}"
