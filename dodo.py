"""This folder is a zoo: `doit` builds recipes/, `doit list` shows what there is.

doit NAME          one recipe                doit why NAME     what would run, and why
doit STAGE:NAME    one stage of it           doit check        read the recipes only
doit GROUP         recipes/GROUP/            doit clean        remove what was built
doit -n 2          two at a time             doit -a NAME      build it again in any case
doit missing       recipes for model types   doit table        write docs/architectures.md
doit unpack NAME   rows of its dataset as files that a person can edit
"""

from tinybuild.tasks import *  # noqa: F403
