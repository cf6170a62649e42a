"""What a network has learnt and what it looks at: filters, maps, projections to the pixels, occlusion."""

from convbench.explain.deconvnet import Projection as Projection
from convbench.explain.deconvnet import deconvnet as deconvnet
from convbench.explain.evolution import Evolution as Evolution
from convbench.explain.evolution import evolution as evolution
from convbench.explain.filters import Filters as Filters
from convbench.explain.filters import filters as filters
from convbench.explain.invariance import Invariance as Invariance
from convbench.explain.invariance import invariance as invariance
from convbench.explain.layers import Layer as Layer
from convbench.explain.layers import layers as layers
from convbench.explain.maps import Activations as Activations
from convbench.explain.maps import activations as activations
from convbench.explain.occlusion import Occluder as Occluder
from convbench.explain.occlusion import Occlusion as Occlusion
from convbench.explain.occlusion import occlusion as occlusion
from convbench.explain.sanity import Sanity as Sanity
from convbench.explain.sanity import sanity as sanity
from convbench.explain.top9 import LayerTop as LayerTop
from convbench.explain.top9 import top9 as top9
