# Written by docs/experiments.py.
from .base import Experiment as Experiment
from .base import Progress as Progress
from .base import Result as Result
from .ablation import Ablated as Ablated
from .ablation import ablate as ablate
from .binding import Bound as Bound
from .binding import bind as bind
from .classification import Classified as Classified
from .classification import classify as classify
from .comparison import Compared as Compared
from .comparison import compare as compare
from .component_walk import Walked as Walked
from .component_walk import walk_components as walk_components
from .editing import Edited as Edited
from .editing import edit as edit
from .generation import Generated as Generated
from .generation import generate as generate
from .guidance import Guided as Guided
from .guidance import guide as guide
from .interpolation import Interpolated as Interpolated
from .interpolation import interpolate as interpolate
from .inversion import Inverted as Inverted
from .inversion import invert as invert
from .reconstruction import Reconstructed as Reconstructed
from .reconstruction import reconstruct as reconstruct
from .spelling import Spelled as Spelled
from .spelling import spell as spell
from .text_diff import Diffed as Diffed
from .text_diff import diff as diff
from .truncation import Truncated as Truncated
from .truncation import truncate as truncate
from .typographic_attack import Attacked as Attacked
from .typographic_attack import attack as attack
from .variation import Varied as Varied
from .variation import vary as vary

EXPERIMENTS: dict[str, Experiment]
