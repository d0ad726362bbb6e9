"""scikit-learn's partial_fit on batches: iterations of a tenth of a second, half a megabyte of state."""

import clock
import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

import flor

rng = np.random.default_rng(0)
x = rng.normal(size=(20_000, 300))
y = (x @ rng.normal(size=(300, 20))).argmax(axis=1)


def new():
    return StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)


def learn(scaler, model, part):
    scaler.partial_fit(x[part])
    model.partial_fit(scaler.transform(x[part]), y[part], classes=np.arange(20))


def piece(scaler, model):
    return lambda: learn(scaler, model, slice(0, 1000))


scaler, model = new()
clock.beside(piece(*new()), steps=1)
clock.start()
with flor.checkpointing(model=model, scaler=scaler):
    for epoch in flor.loop("epoch", range(24)):
        order = rng.permutation(len(x))
        for part in flor.loop("batch", np.array_split(order, 20)):
            learn(scaler, model, part)
            clock.beat()
        flor.log("accuracy", float(model.score(scaler.transform(x[:2000]), y[:2000])))
clock.stop()
