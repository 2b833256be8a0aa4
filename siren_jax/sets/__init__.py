"""Sets of signals: read one by one, fitted together, and kept in one set of fields.

`signals` is the collection, `reader` reads it for the rows of a stack, `joint_descent` is the fit, `group` the
signals that take turns in the rows of one stack, `stack` its compiled steps, `optimizer` their Adam, `tasks` what
they minimise, `writer` where results go, `field_set` the result, `overview` its table and figures, and `array_files`
writes it for other learners.

`latents` learns a space of signals, `base` is the result, and `codes` finds the codes of signals in it. `starts` learns
initial weights. `sampled` reads the signals for them.
"""

from siren_jax.sets.base import Base as Base
from siren_jax.sets.base import Completion as Completion
from siren_jax.sets.base import EncodeProgress as EncodeProgress
from siren_jax.sets.base import load_base as load_base
from siren_jax.sets.field_set import FieldSet as FieldSet
from siren_jax.sets.field_set import load_set as load_set
from siren_jax.sets.joint_descent import SetProgress as SetProgress
from siren_jax.sets.joint_descent import fit_many as fit_many
from siren_jax.sets.latents import LearnProgress as LearnProgress
from siren_jax.sets.latents import learn as learn
from siren_jax.sets.signals import Entry as Entry
from siren_jax.sets.signals import Signals as Signals
from siren_jax.sets.starts import StartProgress as StartProgress
from siren_jax.sets.starts import learn_start as learn_start
