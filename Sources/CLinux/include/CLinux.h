// C shims: what Swift cannot express of the Linux interface. One header a concern, included here.
#pragma once
#include "CLinuxJail.h"
#include "CLinuxKVM.h"
#include "CLinuxKick.h"
#include "CLinuxMemory.h"
#include "CLinuxPerf.h"
#include "CLinuxProbe.h"
#include "CLinuxProcess.h"
#include "CLinuxTSC.h"
#include "CLinuxSoftwareVCPU.h"
