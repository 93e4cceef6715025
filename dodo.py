"""This folder is a zoo: `doit` builds recipes/, `doit list` shows what there is.

doit NAME          one recipe                doit why NAME     what would run, and why
doit STAGE:NAME    one stage of it           doit check        read the recipes only
doit GROUP         recipes/GROUP/            doit clean        remove what was built
doit -n 2          two at a time             doit -a NAME      build it again in any case
doit help          all commands; `tinybuild COMMAND` does the same
"""

from tinybuild.tasks import *  # noqa: F403
