"""Feast plug-ins, by class path.

``asof`` is an offline store; ``wide_sqlite``, ``wide_redis`` and ``wide_postgres`` are online ones;
``engine`` loads.
``registry_file`` writes Feast's registry whole. The stores are made of the packages ``offline`` and
``online``. They know Feast, Arrow and files, and nothing of TradingView.
"""
