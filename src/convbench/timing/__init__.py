"""Networks timed on this machine: engines, their fidelity, the clock, and the machine's own limits."""

import logging
import sys

# OpenVINO reports to its makers when it is imported, NNCF when it is used, both by way of this package; without it,
# which is what None says, they keep silent.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# torch.compile and NNCF import it, and it warns of CUDA missing where nobody asked for CUDA.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
